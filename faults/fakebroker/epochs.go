//go:build faults

package main

// A producer's epoch is a matter of each partition, as in Apache Kafka: there a
// log remembers the epoch of the producers that wrote to it. kfake remembers one
// for all partitions, so a batch that is sent again under its old epoch, because
// its answer did not come, would be turned away as soon as any other partition
// has seen the next one; and the client would store it a second time.

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Places in a record batch, version 2.
const (
	crcAt, crcFrom = 17, 21
	producerIDAt   = 43
	headerEnd      = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// separate gives the producers of each partition ids of their own before kfake looks at a request. Doing it
// twice changes nothing.
func separate(request kmsg.Request) (response kmsg.Response, err error, handled bool) { //nolint:revive // kfake's signature
	produce, ok := request.(*kmsg.ProduceRequest)
	if !ok {
		return nil, nil, false
	}
	for _, topic := range produce.Topics {
		for _, p := range topic.Partitions {
			if len(p.Records) >= headerEnd {
				own(p.Records, p.Partition)
			}
		}
	}
	return nil, nil, false
}

// own writes the partition into the id's upper bits; the lower 48 stay random.
func own(batch []byte, partition int32) {
	id := binary.BigEndian.Uint64(batch[producerIDAt:])
	if int64(id) < 0 { // not idempotent
		return
	}
	id = id&(1<<48-1) | uint64(partition+1)<<48
	binary.BigEndian.PutUint64(batch[producerIDAt:], id)
	binary.BigEndian.PutUint32(batch[crcAt:], crc32.Checksum(batch[crcFrom:], castagnoli))
}
