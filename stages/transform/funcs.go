package transform

// Functions that programs have beside those of their language: the same in all
// of them, without side effects.

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/big"

	"github.com/event-gateway/event-gateway/stages"
)

// hashText is hash(text): 0 to 2^31-1, the same everywhere and for ever. It is the hash by which Kafka's own clients
// choose partitions, so hash(partition_key) % n is the partition of n.
func hashText(s string) int { return int(stages.KeyHash([]byte(s))) }

// sha256Text is sha256(text): 64 hexadecimal digits.
func sha256Text(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// kindOf is kind(value): what JSON calls it.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case int, float64, json.Number, *big.Int, int64, uint64:
		return "number"
	}
	return "other"
}
