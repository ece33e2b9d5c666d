// Package pipeline owns every goroutine, ring and answer of the data path,
// from admission to retirement.
//
//	handlers --admission--> lane -> decode => validate => ratelimit => transform => batch => produce -> Producer
//	                         MPSC         each => is a mesh of SPSC rings                                  |
//	handlers <--Completed-- retirer (a lock) <-- what was not handed over, and the Producer's reports------+
//	                           |
//	                           +--SPSC free rings--> decode
//
// Worker i of a stage pushes an event to the ring (i, h mod n) of the next
// stage's n workers. Up to transform h is the event's shard, from transform on
// its topic-partition: one worker of each stage owns a key, each ring has one
// producer and one consumer, so the order of a stream's events with one key
// needs no lock, no sequence number and no reordering.
//
// # Goroutines
//
//	name            how many            owns (writes)                          ends when
//	decode worker   DecodeWorkers       its Decoder, its free events, out rings  Stop and its lane is empty
//	stage worker    per stage           its Stage, its out rings                 all its in rings are closed and empty
//	batch worker    BatchWorkers        its Batcher, its partitions' open batch  all its in rings are closed and empty
//	produce worker  ProduceWorkers      its Produce, the empty-batch rings       all its in rings are closed and empty
//	watchdog        1                   what it has seen of the workers          Close
//	janitor         1                   the list of abandoned messages           Close
//
// # Two ends of an event
//
// Answered: its Result has an outcome; decided by one atomic state per event
// (stages.Message). Retired: nothing will read its bytes any more, because the
// Producer reported it or never got it. Buffer, event, record and budget are
// given back at the end of both, never at the answer alone: the Kafka client
// encodes a record again at every retry, also after a deadline has answered
// "unknown", and would otherwise store another client's bytes under this key.
package pipeline
