package kafka

// What an event costs between the graph and franz-go.

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

// benchEvent has about 450 bytes on the wire, with three metadata entries.
func benchEvent(p *stages.Partition, i int) *stages.Event {
	ev := newEvent(fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i), p)
	ev.Data = make([]byte, 300)
	ev.More = true
	ev.Subject.Value, ev.DataContentType.Value = []byte("order-4711"), []byte("application/json")
	ev.PartitionKey.Value, ev.HasTime, ev.Nanos, ev.Seconds = []byte("customer-17"), true, 123_000_000, 1_700_000_000
	ev.Metadata = []stages.Pair{
		{Name: []byte("traceparent"), Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		{Name: []byte("tenant"), Value: []byte("acme")},
		{Name: []byte("X-Request"), Value: []byte("abc")},
	}
	return ev
}

// benchEvents is how many distinct events records are made of.
const benchEvents = 512

// BenchmarkRecord lays an event out as a record: from its views and with its own
// time, beside doing so from the generated struct with memory for every record.
func BenchmarkRecord(b *testing.B) {
	events, structs := make([]*stages.Event, benchEvents), make([]*eventv1.Event, benchEvents)
	for i := range events {
		events[i] = benchEvent(testTopic.Partitions()[0], i)
		events[i].Nanos = int32(i) * 1000
		structs[i] = structOf(events[i])
	}
	for _, format := range []Format{FormatBinary, FormatEvent} {
		clock, size := timeText{}, 0
		for i, ev := range events { // also makes the records
			recordOf(ev).fill(context.Background(), format, ev, &clock)
			got := &recordOf(ev).kafka
			want, err := plainRecord(format, testTopic.Name, ev.Msg.Received, structs[i])
			if err != nil {
				b.Fatal(err)
			}
			sameRecord(b, format, got, want)
			size += recordBytes(want)
		}
		b.Run("format="+string(format)+"/impl=gateway", func(b *testing.B) {
			benchRecords(b, size, func(i int) *kgo.Record {
				r := recordOf(events[i])
				r.fill(context.Background(), format, events[i], &clock)
				return &r.kafka
			})
		})
		b.Run("format="+string(format)+"/impl=plain-kgo.Record", func(b *testing.B) {
			benchRecords(b, size, func(i int) *kgo.Record {
				r, err := plainRecord(format, testTopic.Name, events[i].Msg.Received, structs[i])
				if err != nil {
					b.Fatal(err)
				}
				return r
			})
		})
	}
}

// benchRecords makes records in turn; size is what all of them together hold.
func benchRecords(b *testing.B, size int, make func(i int) *kgo.Record) {
	rounds := (b.N + benchEvents - 1) / benchEvents
	got := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		got += recordBytes(make(i % benchEvents))
	}
	b.StopTimer()
	for i := b.N; i < rounds*benchEvents; i++ { // whole rounds have a known size
		got += recordBytes(make(i % benchEvents))
	}
	if got != rounds*size {
		b.Fatalf("the records have %d bytes, want %d", got, rounds*size)
	}
}

func recordBytes(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// structOf is the event as the generated code would have decoded it.
func structOf(ev *stages.Event) *eventv1.Event {
	out := &eventv1.Event{
		Id: string(ev.ID.Value), Source: string(ev.Source.Value), Type: string(ev.Type.Value), Subject: string(ev.Subject.Value),
		Data: bytes.Clone(ev.Data), DataContentType: string(ev.DataContentType.Value), PartitionKey: string(ev.PartitionKey.Value),
		Timestamp: timestamppb.New(ev.Time()), Metadata: map[string]string{},
	}
	for _, m := range ev.Metadata {
		out.Metadata[string(m.Name)] = string(m.Value)
	}
	return out
}

// plainRecord is the mapping as one would write it first.
func plainRecord(format Format, topic string, received time.Time, ev *eventv1.Event) (*kgo.Record, error) {
	r := &kgo.Record{Topic: topic, Timestamp: received, Value: ev.Data}
	if ev.PartitionKey != "" {
		r.Key = []byte(ev.PartitionKey)
	}
	if format == FormatEvent {
		value, err := proto.Marshal(ev)
		r.Value, r.Headers = value, []kgo.RecordHeader{{Key: headerContentType, Value: []byte(eventContentType)}}
		return r, err
	}
	r.Headers = make([]kgo.RecordHeader, 0, attributes+len(ev.Metadata))
	add := func(name, value string) {
		if value != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
	}
	add(headerSpecVersion, "1.0")
	add(headerID, ev.Id)
	add(headerSource, ev.Source)
	add(headerType, ev.Type)
	add(headerTime, ev.Timestamp.AsTime().Format(time.RFC3339Nano))
	add(headerPartitionKey, ev.PartitionKey)
	add(headerContentType, ev.DataContentType)
	add(headerSubject, ev.Subject)
	add(headerDataSchema, ev.DataSchema)
	for name, value := range ev.Metadata {
		switch {
		case name == headerTraceParent || name == headerTraceState:
		case isAttribute([]byte(name)):
			name = attributePrefix + name
		default:
			name = metadataPrefix + name
		}
		add(name, value)
	}
	return r, nil
}

// sameRecord: the two say the same, in whatever order.
func sameRecord(b *testing.B, format Format, got, want *kgo.Record) {
	b.Helper()
	headers := func(r *kgo.Record) (text []string) {
		for _, h := range r.Headers {
			text = append(text, h.Key+"="+string(h.Value))
		}
		slices.Sort(text)
		return text
	}
	same := bytes.Equal(got.Value, want.Value)
	if format == FormatEvent { // entries of a map have no order
		var x, y eventv1.Event
		same = proto.Unmarshal(got.Value, &x) == nil && proto.Unmarshal(want.Value, &y) == nil && proto.Equal(&x, &y)
	}
	if !same || !bytes.Equal(got.Key, want.Key) || got.Topic != want.Topic || !slices.Equal(headers(got), headers(want)) {
		b.Fatalf("the records differ:\n%v\n%v", headers(got), headers(want))
	}
}

// BenchmarkProduce is an event from Produce to its report, with franz-go and a
// broker that discards in the same process; their allocations are in the count.
func BenchmarkProduce(b *testing.B) {
	const window, burst = 8192, 128
	r := newRig(b, func(_ *Config, p *Parts) { p.MaxEvents = window }, kfake.BlackholeProduce()).ready()
	var free []*stages.Event
	for i := range window {
		free = append(free, benchEvent(r.partition(0), i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	events := make([]*stages.Event, burst)
	collect := func() {
		ev := <-r.reports
		if v := ev.Ack.Verdict; v.Outcome != stages.Acknowledged {
			b.Fatalf("%+v\n%s", v, r.log)
		}
		free = append(free, ev)
	}
	for n := 0; n < b.N; n += burst {
		for len(free) < burst {
			collect()
		}
		copy(events, free[len(free)-burst:])
		free = free[:len(free)-burst]
		p := r.partition(n / burst % 3)
		for _, ev := range events {
			ev.Partition = p
		}
		r.producer.Produce(p, events)
	}
	for len(free) < window {
		collect()
	}
}

// TestProduceAllocatesNothing: between the hand-over and the report, what is ours allocates nothing.
func TestProduceAllocatesNothing(t *testing.T) {
	r := newRig(t, func(_ *Config, p *Parts) { p.Report = func([]*stages.Event) {} }).ready()
	ev := benchEvent(r.partition(0), 1)
	part := (*r.producer.topics[0].partitions.Load())[0]
	n := testing.AllocsPerRun(1000, func() {
		rec := recordOf(ev)
		rec.fill(r.producer.background, FormatBinary, ev, &part.clock)
		rec.partition, rec.seq = part, uint32(part.handed.Add(1))
		rec.handOver(true)
		if got := (topicPartitioner{r.producer.topics[0]}).Partition(&rec.kafka, 3); got != 0 {
			t.Fatal(got)
		}
		r.producer.settle(&rec.kafka, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// benchRecord is a record of about 450 bytes as the gateway writes most: without metadata.
func benchRecord(i int) *kgo.Record { return storedRecord(i, FormatBinary, false) }

// storedRecord is a record as it comes from Kafka.
func storedRecord(i int, format Format, metadata bool) *kgo.Record {
	ev := benchEvent(testTopic.Partitions()[0], i)
	ev.Type.Value = fmt.Appendf(nil, "order.t%d", i%10)
	if !metadata {
		ev.Metadata = nil
	}
	nameAttributes(&ev.Attributes)
	r := recordOf(ev)
	r.fill(context.Background(), format, ev, &timeText{})
	return overTheWire(&r.kafka)
}

// BenchmarkDelivery reads a record for subscribers: attributes, the encoded event, its cursor. Beside it the same
// by EventFromRecord and proto.Marshal.
func BenchmarkDelivery(b *testing.B) {
	records := make([]*kgo.Record, benchEvents)
	for i := range records {
		records[i] = benchRecord(i)
	}
	at := positions{1 << 20, 2 << 20, 3 << 20}
	run := func(read func(*kgo.Record) (*delivery, error)) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			kept := make([]*delivery, benchEvents) // as the hub does
			for i := range b.N {
				d, err := read(records[i%benchEvents])
				if err != nil {
					b.Fatal(err)
				}
				d.setCursor(&testIdentity, at)
				kept[i%benchEvents] = d
			}
		}
	}
	b.Run("impl=gateway", run(func(r *kgo.Record) (*delivery, error) { return deliveryOf(r, cursorRoom(3)) }))
	b.Run("impl=plain-proto.Marshal", run(func(r *kgo.Record) (*delivery, error) {
		ev, err := EventFromRecord(r)
		if err != nil {
			return nil, err
		}
		d := &delivery{Delivery: stages.Delivery{Event: ev, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Stored: r.Timestamp}}
		return d, d.encode(cursorRoom(3))
	}))
}

// BenchmarkFilter reads records of which 1 in 10 is wanted, or none, by type: into the same memory until one is, and into
// memory of its own each, with proto.Unmarshal. Beside them what franz-go takes to make records of a fetch, without the
// network. An operation is a record.
func BenchmarkFilter(b *testing.B) {
	for _, format := range []Format{FormatBinary, FormatEvent} {
		for _, metadata := range []int{0, 3} {
			records := make([]*kgo.Record, benchEvents)
			for i := range records {
				records[i] = storedRecord(i, format, metadata > 0)
				records[i].Offset = int64(i)
			}
			name := fmt.Sprintf("format=%s/metadata=%d/", format, metadata)
			b.Run(name+"impl=franz-go", func(b *testing.B) { benchFetch(b, rawBatch(b, 0, benchEvents-1, records)) })
			for wanted, types := range map[string]string{"tenth": "order.t3", "none": "payment.*"} {
				match, err := filter.Compile([]string{types}, nil, "")
				if err != nil {
					b.Fatal(err)
				}
				b.Run(name+"wanted="+wanted+"/impl=gateway", func(b *testing.B) { benchFilter(b, records, filterOf(match).take) })
				b.Run(name+"wanted="+wanted+"/impl=each-by-itself", func(b *testing.B) {
					benchFilter(b, records, func(r *kgo.Record, room int) (*delivery, error) { return takeAlone(r, match, room) })
				})
			}
		}
	}
}

// takeAlone is recordFilter.take with memory for each record.
func takeAlone(r *kgo.Record, match stages.Match, room int) (*delivery, error) {
	d := &delivery{}
	headers, err := inHeaders(r)
	if err == nil && headers {
		err = d.read(r, nil)
	} else if err == nil {
		d.Event, err = eventFromValue(r)
	}
	if err != nil {
		return nil, err
	}
	wanted, err := match(d.Event)
	if err != nil || !wanted {
		return nil, err
	}
	return d, d.encode(room)
}

func benchFilter(b *testing.B, records []*kgo.Record, take func(*kgo.Record, int) (*delivery, error)) {
	b.ReportAllocs()
	kept := make([]*delivery, benchEvents)
	for i := range b.N {
		d, err := take(records[i%benchEvents], cursorRoom(3))
		if err != nil {
			b.Fatal(err)
		}
		if d != nil {
			kept[i%benchEvents] = d
		}
	}
}

// benchFetch makes records of a fetched batch.
func benchFetch(b *testing.B, batch []byte) {
	b.ReportAllocs()
	answer := kmsg.NewFetchResponseTopicPartition()
	answer.RecordBatches = batch
	options := kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, IsolationLevel: kgo.ReadCommitted(), Topic: "events"}
	for i := 0; i < b.N; i += benchEvents {
		if got, _ := kgo.ProcessFetchPartition(options, &answer, kgo.DefaultDecompressor(), nil); len(got.Records) != benchEvents || got.Err != nil {
			b.Fatal(len(got.Records), got.Err)
		}
	}
}

// rawBatch is an uncompressed batch as a broker has it, of the offsets first to last.
func rawBatch(t testing.TB, first, last int64, records []*kgo.Record) []byte {
	t.Helper()
	batch := kmsg.NewRecordBatch()
	batch.Magic, batch.NumRecords, batch.ProducerID, batch.ProducerEpoch = 2, int32(len(records)), -1, -1
	batch.FirstOffset, batch.LastOffsetDelta = first, int32(last-first)
	for _, r := range records {
		if batch.FirstTimestamp == 0 {
			batch.FirstTimestamp = r.Timestamp.UnixMilli()
		}
		batch.MaxTimestamp = r.Timestamp.UnixMilli()
		record := kmsg.Record{OffsetDelta: int32(r.Offset - first), TimestampDelta64: batch.MaxTimestamp - batch.FirstTimestamp, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		record.Length = int32(len(record.AppendTo(nil)) - 1) // a length of 0 takes one byte
		batch.Records = record.AppendTo(batch.Records)
	}
	const lengthEnd, crcEnd = 12, 21
	batch.Length = int32(len(batch.AppendTo(nil)) - lengthEnd)
	batch.CRC = int32(crc32.Checksum(batch.AppendTo(nil)[crcEnd:], crc32.MakeTable(crc32.Castagnoli)))
	return batch.AppendTo(nil)
}
