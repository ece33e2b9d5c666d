package stages

// What one partition may hold when the operator has not said so: not so much
// that a stalled one takes all memory, and not so little that all of them
// together take less than all. Else an overload of every partition would be
// refused PARTITION_STALLED before admission is full, and streams, which
// admission slows down, would see refusals.

// shares divides a budget among partitions; the zero value gives nothing.
type shares struct {
	topics *Topics
	budget int64
}

// ShareAmong lets a partition hold twice what it gets when all partitions share the budget evenly, if that is more
// than the fixed bound; but leaves the others a quarter.
func (b *Batcher) ShareAmong(topics *Topics, budget int64) { b.shares = shares{topics, budget} }

// each is one partition's part. A few loads; it is asked for only above the fixed bound.
func (s shares) each() int64 {
	if s.topics == nil {
		return 0
	}
	partitions := 0
	for _, topic := range s.topics.All {
		partitions += len(topic.Partitions())
	}
	if partitions <= 1 {
		return s.budget // there is nobody to leave anything for
	}
	return min(2*s.budget/int64(partitions), s.budget/4*3)
}
