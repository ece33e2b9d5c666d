"""A gRPC client in Python as a user would write one: all four ingest methods, one JSON line of results.

The stubs are generated from the proto files at each run, into a temporary folder. Ends with status 1 and a
message when an answer is missing, in the wrong order or not what the API says.
"""

import argparse
import importlib
import importlib.resources
import json
import sys
import tempfile

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

DEADLINE = 30  # seconds, per call
STREAM = 100  # events on the stream, and in a batch
BATCHES = 5  # on the batch stream


def generate(proto_root, out):
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    files = ["event/v1/event.proto", "gateway/v1/gateway.proto"]
    args = ["protoc", f"-I{proto_root}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(args + files) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, out)
    return (
        importlib.import_module("event.v1.event_pb2"),
        importlib.import_module("gateway.v1.gateway_pb2"),
        importlib.import_module("gateway.v1.gateway_pb2_grpc"),
    )


def check(ok, text):
    if not ok:
        sys.exit(text)


class Client:
    def __init__(self, args, generated):
        self.event, self.pb, grpc_stubs = generated
        self.prefix = args.prefix
        channel = grpc.insecure_channel(args.addr)
        grpc.channel_ready_future(channel).result(timeout=DEADLINE)
        self.stub = grpc_stubs.EventGatewayStub(channel)

    def new_event(self, name, i=0):
        event = self.event.Event(
            id=f"{self.prefix}-{name}-{i}",
            source="/clients/python",
            type="client.test",
            subject=name,
            data=json.dumps({"n": i}).encode(),
            data_content_type="application/json",
            metadata={"language": "python"},
            partition_key=f"key-{i % 10}",
        )
        event.timestamp.GetCurrentTime()
        return event

    def unary(self):
        event = self.new_event("unary")
        answer = self.stub.IngestEvent(self.pb.IngestEventRequest(event=event), timeout=DEADLINE)
        check(answer.event_id == event.id, f"unary answer for {answer.event_id!r}, want {event.id!r}")
        return answer.success and answer.outcome == self.pb.OUTCOME_ACKNOWLEDGED

    def unary_error(self):
        """Sends an event without source and type and returns what the status says about it."""
        bad = self.event.Event(id=f"{self.prefix}-bad-0", data=b"{}")
        try:
            self.stub.IngestEvent(self.pb.IngestEventRequest(event=bad), timeout=DEADLINE)
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"bad event: {error.code()}: {error.details()}")
            status = rpc_status.from_call(error)
            check(status is not None, f"bad event: a status without details: {error.details()}")
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return error.code().name, info.reason, info.domain
            sys.exit("bad event: no google.rpc.ErrorInfo in the status")
        sys.exit("an event without source and type was accepted")

    def stream(self):
        events = [self.new_event("stream", i) for i in range(STREAM)]
        requests = (self.pb.IngestEventRequest(event=e) for e in events)
        acked = 0
        answers = list(self.stub.IngestEventStream(requests, timeout=DEADLINE))
        check(len(answers) == STREAM, f"{len(answers)} answers to {STREAM} requests on the stream")
        for event, answer in zip(events, answers):
            check(answer.event_id == event.id, f"stream answer for {answer.event_id!r}, want {event.id!r}")
            acked += answer.outcome == self.pb.OUTCOME_ACKNOWLEDGED
        return acked

    def batch_request(self, name, first=0):
        return self.pb.IngestEventBatchRequest(events=[self.new_event(name, first + i) for i in range(STREAM)])

    def batch(self):
        return self.stub.IngestEventBatch(self.batch_request("batch"), timeout=DEADLINE).succeeded

    def batch_stream(self):
        requests = (self.batch_request("batchstream", b * STREAM) for b in range(BATCHES))
        answers = list(self.stub.IngestEventBatchStream(requests, timeout=DEADLINE))
        check(len(answers) == BATCHES, f"{len(answers)} answers to {BATCHES} batches on the stream")
        return sum(a.succeeded for a in answers)


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--addr", required=True, help="host:port of the gateway")
    flags.add_argument("--proto-root", required=True, help="the folder that holds event/v1 and gateway/v1")
    flags.add_argument("--prefix", default="python", help="what every event id begins with")
    args = flags.parse_args()
    with tempfile.TemporaryDirectory() as out:
        client = Client(args, generate(args.proto_root, out))
        unary_ok = client.unary()
        code, reason, domain = client.unary_error()
        result = {
            "unary_ok": unary_ok,
            "unary_error_code": code,
            "unary_error_reason": reason,
            "unary_error_domain": domain,
            "stream_acked": client.stream(),
            "batch_acked": client.batch(),
            "batch_stream_acked": client.batch_stream(),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
