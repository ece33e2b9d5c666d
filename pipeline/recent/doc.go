// Package recent keeps the last acknowledged events in memory, by id.
//
// One goroutine at a time writes (the pipeline's retirer, under its lock), any
// number read, and nobody waits for anybody.
//
// Events lie one behind the other in segments of a preallocated log; when the log
// is full, the segment with the oldest events is written anew. An index has for
// each hash of an id the position of the newest event with that hash, and each
// event the position of the one before it, so that a search meets the newest first
// and ends at the first position that is gone: all behind it are older. Nothing is
// ever taken out of the index.
//
// Bytes are written and copied as they are, without atomics: each of
// the 57 words of an event of 450 bytes would wait for all stores before it. So a reader
// must not look at a segment while it is written anew. A segment has one atomic
// word: a lap, counted each time the segment is written anew, and how many readers
// are in it. A position names the lap; a reader enters by raising the number, and
// leaves at once if the lap has passed on: what it came for is gone. The writer
// begins a new lap by compare-and-swap from no readers; a segment that has some is
// passed over, once around, and the next older one is taken. A lap's own events are
// written behind those that can be found already, and can be found when the index
// is written, atomically. So no byte is ever read and written at a time, which the
// race detector agrees with, and what is read is whole.
//
// There is one log and not one for each hash of an id: a lock orders the writers
// anyway, and "the last 65,536 events" stays exact (ADR 0015).
package recent
