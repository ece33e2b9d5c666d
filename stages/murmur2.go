package stages

// Kafka's own key hash, so that Java and librdkafka producers with the same
// key reach the same partition.

import "encoding/binary"

// KeyHash is the hash of Kafka's default partitioner: murmur2 with the seed
// 0x9747b28c, made positive by clearing the sign bit
// (org.apache.kafka.common.utils.Utils.murmur2 and toPositive). The partition
// is KeyHash(key) mod the partition count.
func KeyHash(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h & 0x7fffffff
}
