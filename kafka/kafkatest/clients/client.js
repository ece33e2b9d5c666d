// A gRPC client in Node as a user would write one: all four ingest methods, one JSON line of results. Ends
// with status 1 and a message when an answer is missing, in the wrong order or not what the API says.
'use strict';

const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');
const { parseArgs } = require('node:util');

const DEADLINE = 30000; // milliseconds, per call
const STREAM = 100; // events on the stream, and in a batch
const BATCHES = 5; // on the batch stream

// The error model of google.rpc, which proto-loader does not bring.
const rpc = protobuf.parse(
  `
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`,
  { keepCase: true },
).root;

const { values: flags } = parseArgs({
  options: {
    addr: { type: 'string' }, // host:port of the gateway
    'proto-root': { type: 'string' }, // the folder that holds event/v1 and gateway/v1
    prefix: { type: 'string', default: 'node' }, // what every event id begins with
  },
});

function check(ok, text) {
  if (!ok) throw new Error(text);
}

function newClient() {
  const definition = protoLoader.loadSync(['gateway/v1/gateway.proto'], {
    includeDirs: [flags['proto-root']],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  const { EventGateway } = grpc.loadPackageDefinition(definition).gateway.v1;
  return new EventGateway(flags.addr, grpc.credentials.createInsecure());
}

function newEvent(name, i = 0) {
  const now = Date.now();
  return {
    id: `${flags.prefix}-${name}-${i}`,
    source: '/clients/node',
    type: 'client.test',
    subject: name,
    data: Buffer.from(JSON.stringify({ n: i })),
    data_content_type: 'application/json',
    timestamp: { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1e6 },
    metadata: { language: 'node' },
    partition_key: `key-${i % 10}`,
  };
}

const newEvents = (name, first = 0) => Array.from({ length: STREAM }, (_, i) => newEvent(name, first + i));
const options = () => ({ deadline: Date.now() + DEADLINE });

// call makes a unary call a promise.
function call(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, options(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// exchange writes all requests to a stream, as fast as flow control lets it, and returns all answers.
function exchange(client, method, requests) {
  return new Promise((resolve, reject) => {
    const stream = client[method](options());
    const answers = [];
    stream.on('data', (answer) => answers.push(answer));
    stream.on('error', reject);
    stream.on('end', () => resolve(answers));
    const left = requests.slice();
    const write = () => {
      while (left.length > 0) {
        if (!stream.write(left.shift())) {
          stream.once('drain', write);
          return;
        }
      }
      stream.end();
    };
    write();
  });
}

async function unary(client) {
  const event = newEvent('unary');
  const answer = await call(client, 'IngestEvent', { event });
  check(answer.event_id === event.id, `unary answer for ${answer.event_id}, want ${event.id}`);
  return answer.success && answer.outcome === 'OUTCOME_ACKNOWLEDGED';
}

// unaryError sends an event without source and type and returns what the status says about it.
async function unaryError(client) {
  let error;
  try {
    await call(client, 'IngestEvent', { event: { id: `${flags.prefix}-bad-0`, data: Buffer.from('{}') } });
  } catch (caught) {
    error = caught;
  }
  check(error, 'an event without source and type was accepted');
  check(error.code === grpc.status.INVALID_ARGUMENT, `bad event: ${error.message}`);
  const [details] = error.metadata.get('grpc-status-details-bin');
  check(details, `bad event: a status without details: ${error.message}`);
  const status = rpc.lookupType('Status').decode(details);
  const any = status.details.find((d) => d.type_url.endsWith('/google.rpc.ErrorInfo'));
  check(any, 'bad event: no google.rpc.ErrorInfo in the status');
  const info = rpc.lookupType('ErrorInfo').decode(any.value);
  return { unary_error_code: grpc.status[error.code], unary_error_reason: info.reason, unary_error_domain: info.domain };
}

async function stream(client) {
  const events = newEvents('stream');
  const answers = await exchange(client, 'IngestEventStream', events.map((event) => ({ event })));
  check(answers.length === STREAM, `${answers.length} answers to ${STREAM} requests on the stream`);
  answers.forEach((answer, i) => {
    check(answer.event_id === events[i].id, `stream answer for ${answer.event_id}, want ${events[i].id}`);
  });
  return answers.filter((answer) => answer.outcome === 'OUTCOME_ACKNOWLEDGED').length;
}

async function batch(client) {
  const answer = await call(client, 'IngestEventBatch', { events: newEvents('batch') });
  return answer.succeeded;
}

async function batchStream(client) {
  const requests = Array.from({ length: BATCHES }, (_, b) => ({ events: newEvents('batchstream', b * STREAM) }));
  const answers = await exchange(client, 'IngestEventBatchStream', requests);
  check(answers.length === BATCHES, `${answers.length} answers to ${BATCHES} batches on the stream`);
  return answers.reduce((sum, answer) => sum + answer.succeeded, 0);
}

async function main() {
  const client = newClient();
  const result = {
    unary_ok: await unary(client),
    ...(await unaryError(client)),
    stream_acked: await stream(client),
    batch_acked: await batch(client),
    batch_stream_acked: await batchStream(client),
  };
  client.close();
  console.log(JSON.stringify(result));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1); // also with a connection still open
});
