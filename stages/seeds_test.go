package stages

// What the fuzz targets start from: every way of bending the encoding that we
// know of, built from the official encoding of a small event.

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// textFields are the string fields of event.v1.Event.
var textFields = []protowire.Number{
	fieldID, fieldSource, fieldType, fieldSubject, fieldDataContentType, fieldDataSchema, fieldCursor, fieldPartitionKey,
}

const notUTF8 = "a\xffb"

// seedEvents are encoded events, good and bad.
func seedEvents(tb testing.TB) [][]byte {
	small := encode(tb, &eventv1.Event{
		Id: "i", Source: "s", Type: "t", Data: []byte{0, 0xff}, Metadata: map[string]string{"k": "v"},
		Timestamp: &timestamppb.Timestamp{Seconds: -1, Nanos: -1}, PartitionKey: "p",
	})
	seeds := [][]byte{nil, encode(tb, sample()), encode(tb, &eventv1.Event{Cursor: "c", Subject: "\u00e9\u20ac"})}
	for i := range small {
		seeds = append(seeds, small[:i])
	}
	seeds = append(seeds, seedStrings(small)...)
	seeds = append(seeds, seedMetadata()...)
	seeds = append(seeds, seedTags(small)...)
	return append(seeds, seedNumbers()...)
}

// seedStrings have bad UTF-8, duplicates, and bad UTF-8 that a later value replaces.
func seedStrings(small []byte) (seeds [][]byte) {
	for _, number := range append([]protowire.Number{fieldData}, textFields...) {
		bad, good, empty := field(nil, number, notUTF8), field(nil, number, "good"), field(nil, number, "")
		seeds = append(seeds, bad, join(bad, good), join(good, bad), join(good, empty), join(empty, good), join(bad, empty),
			join(small, good, small))
	}
	return append(seeds,
		field(nil, 11, notUTF8),    // an unknown field is bytes
		field(nil, 1<<20, notUTF8), // and so is one with a long tag
		field(nil, fieldID, strings.Repeat("long", 200)),
	)
}

// seedMetadata have entries in every odd shape.
func seedMetadata() (seeds [][]byte) {
	name, value := field(nil, 1, "n"), field(nil, 2, "v")
	for _, entry := range [][]byte{
		nil, name, value, join(value, name), join(name, name, value, value), join(name, value, field(nil, 3, "x")),
		field(nil, 1, notUTF8), field(nil, 2, notUTF8), join(field(nil, 1, notUTF8), name), join(field(nil, 2, notUTF8), value),
		varint(nil, 1, 7), varint(nil, 2, 7), {0}, {0x0a, 5, 'x'}, {0x0b, 0x0c}, name[:1],
	} {
		one := field(nil, fieldMetadata, string(entry))
		seeds = append(seeds, one, join(one, one), join(one, field(nil, fieldMetadata, string(join(name, value)))))
	}
	var many []byte
	for i := range MaxMetadataEntries + 3 {
		many = field(many, fieldMetadata, string(field(nil, 1, strings.Repeat("m", i+1))))
		if i >= MaxMetadataEntries-2 {
			seeds = append(seeds, many)
		}
	}
	return append(seeds, join(many, field(nil, fieldMetadata, string(field(nil, 1, notUTF8)))))
}

// seedTags have wrong wire types, groups, illegal and long field numbers.
func seedTags(small []byte) (seeds [][]byte) {
	for number := protowire.Number(1); number <= 13; number++ {
		for wire := protowire.Type(0); wire < 8; wire++ {
			tag := protowire.AppendTag(nil, number, wire)
			seeds = append(seeds, tag, join(tag, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}), join(tag, protowire.AppendTag(nil, number, protowire.EndGroupType), small))
		}
	}
	for wire := byte(0); wire < 8; wire++ {
		seeds = append(seeds, []byte{wire}, []byte{wire, 1, 2, 3}, []byte{wire | 0x80, 0, 1}) // field number 0, also overlong
	}
	for _, number := range []uint64{1<<29 - 1, 1 << 29, 1<<31 - 1, 1 << 31, 1 << 40, 1<<61 - 1} {
		seeds = append(seeds, join(protowire.AppendVarint(nil, number<<3), []byte{1}))
	}
	for _, depth := range []int{1, 3, 100, 9_999, 10_000, 10_001, 10_002} {
		seeds = append(seeds, groups(depth), groups(depth)[:depth+1])
	}
	return seeds
}

// groups are groups of an unknown field within each other.
func groups(depth int) (b []byte) {
	for range depth {
		b = protowire.AppendTag(b, 11, protowire.StartGroupType)
	}
	for range depth {
		b = protowire.AppendTag(b, 11, protowire.EndGroupType)
	}
	return b
}

// seedNumbers have varints and lengths of every odd form, also in timestamps.
func seedNumbers() (seeds [][]byte) {
	ten := []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}
	for _, v := range [][]byte{
		{0}, {1}, {0x80}, {0x80, 0}, {0x81, 0}, {0x80, 0x80, 0}, ten, append(ten[:9:9], 0x02), append(ten[:9:9], 0x80, 0x01),
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0x80, 0x80, 0x80, 0x80, 0x10},
	} {
		seeds = append(seeds, join([]byte{fieldID<<3 | 2}, v), join([]byte{fieldID<<3 | 2}, v, []byte("xy")),
			join([]byte{fieldID << 3}, v, field(nil, fieldType, "t")))
		for number := protowire.Number(1); number <= 3; number++ {
			stamp := join(protowire.AppendTag(nil, number, protowire.VarintType), v)
			seeds = append(seeds, field(nil, fieldTimestamp, string(stamp)),
				field(field(nil, fieldTimestamp, string(stamp)), fieldTimestamp, string(varint(nil, 2, 9))))
		}
	}
	return append(seeds, field(nil, fieldTimestamp, ""), field(nil, fieldTimestamp, "\x00"), field(nil, fieldTimestamp, "\x0a\x01x"))
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func varint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}
