//go:build !poison

package pipeline

// poison overwrites the bytes of retired messages; off outside debug builds.
const (
	poison     = false
	poisonByte = 0
)
