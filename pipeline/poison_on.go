//go:build poison

package pipeline

// poison overwrites the bytes of retired messages, so that a use after retirement is seen (go test -tags poison).
const (
	poison     = true
	poisonByte = 0xDB
)
