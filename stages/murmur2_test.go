package stages

// The key hash against Kafka's own vectors and against franz-go's partitioner.

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// kafkaVectors are those of org.apache.kafka.common.utils.UtilsTest.testMurmur2,
// with the partitions of topics of 1, 3, 12 and 100 that follow from them.
var kafkaVectors = []struct {
	key        string
	murmur2    int32
	partitions [4]uint32
}{
	{"21", -973932308, [4]uint32{0, 0, 0, 40}},
	{"foobar", -790332482, [4]uint32{0, 0, 6, 66}},
	{"a-little-bit-long-string", -985981536, [4]uint32{0, 2, 8, 12}},
	{"a-little-bit-longer-string", -1486304829, [4]uint32{0, 2, 11, 19}},
	{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, [4]uint32{0, 2, 5, 77}},
	{"abc", 479470107, [4]uint32{0, 0, 3, 7}},
}

func TestKeyHashIsKafkas(t *testing.T) {
	for _, v := range kafkaVectors {
		if got, want := KeyHash([]byte(v.key)), uint32(v.murmur2)&0x7fffffff; got != want {
			t.Errorf("KeyHash(%q) is %d, want %d", v.key, got, want)
		}
		for i, n := range []uint32{1, 3, 12, 100} {
			if got := KeyHash([]byte(v.key)) % n; got != v.partitions[i] {
				t.Errorf("%q goes to partition %d of %d, want %d", v.key, got, n, v.partitions[i])
			}
		}
	}
}

func TestKeyHashAgreesWithFranzGo(t *testing.T) {
	partitioner := kgo.StickyKeyPartitioner(nil).ForTopic("events")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key")
		n := rapid.IntRange(1, 1000).Draw(t, "partitions")
		if got, want := int(KeyHash(key))%n, partitioner.Partition(&kgo.Record{Key: key}, n); got != want {
			t.Fatalf("% x goes to partition %d of %d, franz-go says %d", key, got, n, want)
		}
	})
}

func TestTransformPartitionsLikeKafka(t *testing.T) {
	for i, n := range []int{1, 3, 12, 100} {
		topics := NewTopics("events")
		topics.Default.SetPartitions(n)
		for _, v := range kafkaVectors {
			ev := liveEvents(1)[0]
			ev.Shard = KeyHash([]byte(v.key))
			NewTransform(topics, TransformParts{}).Process([]*Event{ev})
			mustLive(t, ev)
			if ev.Topic != topics.Default || ev.Partition.ID != int32(v.partitions[i]) || ev.At != AtTransform {
				t.Errorf("%q goes to partition %d of %d, want %d", v.key, ev.Partition.ID, n, v.partitions[i])
			}
		}
	}
}
