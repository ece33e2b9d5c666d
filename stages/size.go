package stages

// Byte sizes in configuration: "900000", "64KiB", "20MiB", "1GiB".

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a number of bytes that reads and prints binary units.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var byteUnits = []struct {
	suffix string
	unit   Bytes
}{{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"B", 1}}

// UnmarshalText reads a whole number with an optional unit (B, KiB, MiB, GiB).
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := string(text), Bytes(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = rest, u.unit
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > (1<<62)/int64(unit) {
		return fmt.Errorf("%q is not a size: write a whole number of bytes, or one with KiB, MiB or GiB", text)
	}
	*b = Bytes(n) * unit
	return nil
}

// String prints the largest unit that divides the size evenly.
func (b Bytes) String() string {
	for i := len(byteUnits) - 2; i >= 0; i-- {
		if u := byteUnits[i]; b >= u.unit && b%u.unit == 0 {
			return strconv.FormatInt(int64(b/u.unit), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
