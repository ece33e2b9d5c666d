package kafka

// What an answer to a fetch becomes when it is decompressed. Kafka's bounds count
// compressed bytes, franz-go's bound counts a batch, and franz-go decompresses all
// of an answer before anybody sees a record: an answer of 1 MiB may be a thousand
// batches of a megabyte of zeros. So a client that reads gets a decompressor that
// refuses when the answer has become large enough. franz-go takes an error behind
// the first batch of a partition for the end of what the broker has sent, which
// may be cut off anywhere, and fetches from there on; see ProcessFetchPartition.

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mostRatio is how many times as large as its bound the answer of one broker may become, and the batch with which it
// passes that, beside it. Text and JSON become four to eight times as large, so that little is fetched twice.
const mostRatio = 4

// errAnswerFull is what the first batch of a partition gets behind the bound; nothing is wrong with it. Its partition goes on with the next fetch.
var errAnswerFull = errors.New("what came with this batch has become large enough")

// fetchBudget is a kgo.Decompressor, and a hook that hears of each answer. With several brokers their answers share it, and
// the next answer of one of them begins it anew: then as many answers may be held as there are brokers, each up to twice
// as large.
type fetchBudget struct {
	batch kgo.Decompressor
	most  int64
	used  atomic.Int64
}

// newFetchBudget is that of answers of so many bytes.
func newFetchBudget(batch kgo.Decompressor, answer int32) *fetchBudget {
	return &fetchBudget{batch: batch, most: int64(answer) * mostRatio}
}

// fetchBounds are the options of a client that consumes: what one broker sends at once, a partition's part of it, and what that
// may become. batch bounds a batch.
func fetchBounds(batch kgo.Decompressor, answer, partition int32) []kgo.Opt {
	b := newFetchBudget(batch, answer)
	return []kgo.Opt{kgo.FetchMaxBytes(answer), kgo.FetchMaxPartitionBytes(partition), kgo.WithDecompressor(b), kgo.WithHooks(b)}
}

// batchDecompressor is franz-go's, which refuses a batch that becomes larger than most bytes. It has to be taken from a client; it
// may be shared, and saves each client pools of its own.
func batchDecompressor(most int32) (kgo.Decompressor, error) {
	client, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(int(most)), kgo.DisableClientMetrics())
	if err != nil {
		return nil, fmt.Errorf("decompressor: %w", err)
	}
	defer client.Close()
	d, ok := client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !ok {
		return nil, errors.New("franz-go does not tell its decompressor any more")
	}
	return d, nil
}

// Decompress implements kgo.Decompressor.
func (b *fetchBudget) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if b.used.Load() >= b.most {
		return nil, errAnswerFull
	}
	out, err := b.batch.Decompress(src, codec)
	b.used.Add(int64(len(out)))
	return out, err
}

// OnBrokerRead implements kgo.HookBrokerRead.
func (b *fetchBudget) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Fetch) {
		b.used.Store(0)
	}
}
