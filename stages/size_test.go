package stages

// Byte sizes: what is read, what is refused, and that printing and reading agree.

import (
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  Bytes
		print string
	}{
		{"0", 0, "0"}, {"1", 1, "1"}, {"900000", 900_000, "900000"}, {"900000B", 900_000, "900000"}, {"1023", 1023, "1023"},
		{"1024", KiB, "1KiB"}, {"64KiB", 64 * KiB, "64KiB"}, {"20MiB", 20 * MiB, "20MiB"}, {"1GiB", GiB, "1GiB"},
		{"2048KiB", 2 * MiB, "2MiB"}, {"1025KiB", 1025 * KiB, "1025KiB"}, {"5 MiB", 5 * MiB, "5MiB"}, {"0GiB", 0, "0"},
		{"4611686018427387904", 1 << 62, "4294967296GiB"}, {"4294967296GiB", 1 << 62, "4294967296GiB"},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(c.text)); err != nil || b != c.want || b.String() != c.print {
			t.Errorf("%q is %d, prints %q (%v); want %d, %q", c.text, int64(b), b, err, int64(c.want), c.print)
		}
		if text, err := b.MarshalText(); err != nil || string(text) != c.print {
			t.Errorf("%q is written as %q (%v)", c.text, text, err)
		}
	}
	for _, bad := range []string{
		"", " ", "B", "KiB", "x", "1.5MiB", "-1", "-1KiB", "1KB", "1kib", "1M", "1MiBs", "0x10", "1_000", "1e3", "1KiBKiB",
		"4611686018427387905", "4294967297GiB", "99999999999999999999",
	} {
		b := Bytes(7)
		err := b.UnmarshalText([]byte(bad))
		if err == nil || b != 7 {
			t.Errorf("%q is read as %d", bad, int64(b))
		} else if !strings.Contains(err.Error(), "is not a size: write a whole number of bytes, or one with KiB, MiB or GiB") {
			t.Errorf("%q: the error is %v", bad, err)
		}
	}
}

func FuzzBytes(f *testing.F) {
	for _, s := range []string{"", "0", "1", "64KiB", "20MiB", "1GiB", "12B", "-3", " 5 MiB", "4294967296GiB", "9223372036854775807", "+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, again Bytes
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if b < 0 {
			t.Fatalf("%q is read as %d", s, int64(b))
		}
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Fatalf("%q is %d, printed %q, read again as %d (%v)", s, int64(b), b, int64(again), err)
		}
	})
}
