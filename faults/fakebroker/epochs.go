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

// separate gives the producers of each partition ids of their own before kfake looks at a request's records. It is
// a fault that never strikes, because faults are weighed on the goroutine that stores. A control function would
// let a close come in between: kfake then saves what it knows of the producers, and stores the request behind
// that. What is sent again after the opening is then stored twice.
func separate(request kmsg.Request) bool {
	produce, ok := request.(*kmsg.ProduceRequest)
	if !ok {
		return false
	}
	for _, topic := range produce.Topics {
		for _, p := range topic.Partitions {
			if len(p.Records) >= headerEnd {
				own(p.Records, p.Partition)
			}
		}
	}
	return false
}

// own writes the partition into the id's upper bits; the lower 48 stay random.
func own(batch []byte, partition int32) {
	id := binary.BigEndian.Uint64(batch[producerIDAt:])
	theirs := id&(1<<48-1) | uint64(partition+1)<<48
	if int64(id) < 0 || id == theirs { // not idempotent; done: a request is weighed once for each partition
		return
	}
	binary.BigEndian.PutUint64(batch[producerIDAt:], theirs)
	binary.BigEndian.PutUint32(batch[crcAt:], crc32.Checksum(batch[crcFrom:], castagnoli))
}
