//go:build faults

package faults

// The embedded broker's disk: full, damaged, claimed twice, kept within bounds.

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func embeddedCells() []cell {
	return []cell{
		{name: "R35", fault: "disk of the embedded broker full, then enlarged", on: embedded, rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some},
			load: rig.Load{Resend: true}, prepare: smallDisk, noBaseline: true /* the log begins further files */, alive: 15 * time.Second, hurt: func(x *run) {
				if !rig.Within(20*time.Second, func() bool { n := x.ledger.Count(); return n.Unknown+n.Refused > 0 }) {
					x.Fatal("the disk does not become full")
				}
				x.unready("UNKNOWN_SERVER_ERROR")
				x.lasts(time.Second, 20*time.Second)
				if err := syscall.Mount("tmpfs", x.disk(), "tmpfs", syscall.MS_REMOUNT, "size=2g"); err != nil {
					x.Fatal(err)
				}
			}, rest: func(x *run) {
				if n := x.gateway.Metrics().Sum("gateway_kafka_failed_records_total"); n == 0 || !x.gateway.Said(`"class":"UNKNOWN_SERVER_ERROR"`) {
					x.Errorf("gateway_kafka_failed_records_total is %.0f, or no line names UNKNOWN_SERVER_ERROR", n)
				}
				if !x.gateway.IsReady() {
					x.Error("/ready does not say 200 again")
				}
			}},
		{name: "R36", fault: "a bit of the embedded broker's data flipped while it is down", on: embedded, ci: true, ends: true, rules: ledger.Rules{Least: some}, hurt: bitFlip},
		{name: "R37", fault: "a second gateway on the same data directory", on: embedded, ci: true, rules: ledger.Rules{Least: some}, hurt: func(x *run) {
			second := rig.NewGateway(x, filepath.Join(x.dir, "second"), "EMBEDDED_DATA_DIR="+filepath.Join(x.gateway.Dir, "data"))
			second.Start()
			if code := second.Exit(10 * time.Second); code != 1 || !strings.Contains(second.Log(), "data") {
				x.Errorf("the second gateway ends with code %d: %s", code, second.Log())
			}
			x.say("%s", strings.TrimSpace(second.Log()))
		}},
		{name: "R38", fault: "power loss with EMBEDDED_SYNC_WRITES=true: every answer comes after its fsync", on: embedded,
			load: rig.Load{Unary: 1, Streams: -1, Batches: -1, Rate: 200}, settings: []string{"EMBEDDED_SYNC_WRITES=true"},
			noBaseline: true, hurt: syncBeforeAnswer},
		{name: "R39", fault: "SIGKILL with a large log (LONG: 2 GiB), start under GOMEMLIMIT=256MiB", on: embedded, restarts: true,
			load: rig.Load{Resend: true, Size: 4000}, settings: []string{"GOMEMLIMIT=256MiB", fmt.Sprintf("EMBEDDED_MAX_BYTES=%d", 16<<30)},
			rules: ledger.Rules{Least: some}, noBaseline: true, hurt: bigRestart},
		{name: "R40", fault: "more than EMBEDDED_MAX_BYTES, a restart, and more again", on: embedded, restarts: true, expires: true,
			settings: []string{fmt.Sprintf("EMBEDDED_MAX_BYTES=%d", maxDisk)}, rules: ledger.Rules{Least: some}, hurt: fillTwice, seen: expiredSeen},
	}
}

// bigRestart measures what a start costs after a crash: the broker reads its whole log, to find its end and what is
// damaged.
func bigRestart(x *run) {
	target := int64(x.span(128<<20, 2<<30))
	if !rig.Within(5*time.Minute, func() bool { return x.used() > target }) {
		x.Fatalf("%d MiB written in 5 minutes, want %d", x.used()>>20, target>>20)
	}
	x.gateway.Kill()
	size, began := x.used(), time.Now()
	x.gateway.Start()
	if !rig.Within(time.Minute, x.gateway.IsReady) {
		x.Fatalf("not ready within a minute, with %d MiB on disk", size>>20)
	}
	took := time.Since(began)
	r, _ := x.gateway.Resources()
	x.say("ready %v after a crash with %d MiB on disk, %d MiB resident at most", took.Round(10*time.Millisecond), size>>20, r.Peak>>20)
	// Bounds, not goals: the log is read with the disk's speed, a file at a time.
	if perGiB := took.Seconds() / (float64(size) / (1 << 30)); perGiB > 30 && took > 5*time.Second {
		x.Errorf("%.1f s for a GiB", perGiB)
	}
	if r.Peak > 384<<20 {
		x.Errorf("%d MiB at most during the start, GOMEMLIMIT is 256 MiB", r.Peak>>20)
	}
}

// maxDisk is small, so that retention has work at once.
const maxDisk = 32 << 20

// fillTwice writes twice as much as the disk may hold, before and after a restart.
func fillTwice(x *run) {
	for n := range x.times(2, 6) {
		if n > 0 {
			x.restart(10*time.Second, 0)
			x.gateway.Start().Ready()
			x.again(5 * time.Second)
		}
		full := func() bool { return x.gateway.Metrics().Sum("gateway_kafka_written_bytes_total") > 2*maxDisk }
		if !rig.Within(30*time.Second, full) {
			x.Fatalf("%.0f bytes in 30 s: too few to fill %d", x.gateway.Metrics().Sum("gateway_kafka_written_bytes_total"), maxDisk)
		}
		// The bound is kept once a second: what is written in between comes on top.
		if !rig.Within(5*time.Second, func() bool { return x.used() <= maxDisk }) {
			x.Errorf("%d MiB on disk, EMBEDDED_MAX_BYTES is %d MiB", x.used()>>20, maxDisk>>20)
		}
		x.say("%.0f MiB written, %d MiB on disk", x.gateway.Metrics().Sum("gateway_kafka_written_bytes_total")/(1<<20), x.used()>>20)
	}
}

// expiredSeen: something has expired, and no more than had to.
func expiredSeen(x *run, v *ledger.Verdict) {
	sum := v.Sum()
	x.say("%d of %d acknowledged events expired; %d MiB on disk", sum.Expired, sum.Acknowledged, x.used()>>20)
	if sum.Expired == 0 || sum.Stored == 0 {
		x.Errorf("P11: %d expired, %d are there", sum.Expired, sum.Stored)
	}
	if used := x.used(); used > maxDisk || used < maxDisk/4 {
		x.Errorf("%d bytes on disk at rest, EMBEDDED_MAX_BYTES is %d", used, maxDisk)
	}
}

// used is what the data files take.
func (x *run) used() (bytes int64) {
	_ = filepath.WalkDir(x.disk(), func(_ string, d fs.DirEntry, err error) error { // files may vanish meanwhile
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

func (x *run) disk() string { return filepath.Join(x.gateway.Dir, "data") }

// smallDisk mounts 20 MB where the data goes; it needs root, as the container that CI runs in has.
func smallDisk(x *run) {
	if err := os.MkdirAll(x.disk(), 0o700); err != nil {
		x.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", x.disk(), "tmpfs", 0, "size=20m,mode=0700"); err != nil {
		x.Skipf("a disk of its own needs root: %v", err)
	}
	x.Cleanup(func() {
		x.gateway.Kill()
		_ = syscall.Unmount(x.disk(), syscall.MNT_DETACH) // a leftover mount is reported by the folder's removal
	})
}

// bitFlip kills the gateway, flips one bit of a log file, and looks whether it starts all the same.
func bitFlip(x *run) {
	x.lasts(time.Second, 10*time.Second)
	x.load.Stop(rig.Patience) // what comes later would only be refused
	for range x.times(4, 30) {
		x.gateway.Kill()
		name, at, mask := x.aBit()
		x.flip(name, at, mask)
		x.gateway.Start()
		if code := x.gateway.Exit(20 * time.Second); code != 1 {
			x.Errorf("bit %02x at %d of %s is flipped and the start ends with code %d (-1 = it runs)", mask, at, name, code)
		} else if lines := x.gateway.Lines("the gateway cannot start"); !strings.Contains(lines[len(lines)-1]["error"].(string), filepath.Base(name)) {
			x.Errorf("the start does not name the file %s: %v", name, lines[len(lines)-1])
		}
		x.flip(name, at, mask) // as it was
		x.gateway.Start().Ready()
	}
}

// aBit picks one of the data files' bits.
func (x *run) aBit() (name string, at int, mask byte) {
	var files []string
	err := filepath.WalkDir(x.disk(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".dat") {
			if info, _ := d.Info(); info != nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		x.Fatalf("no data files below %s: %v", x.disk(), err)
	}
	name = files[x.random.IntN(len(files))]
	info, err := os.Stat(name)
	if err != nil {
		x.Fatal(err)
	}
	return name, x.random.IntN(int(info.Size())), 1 << x.random.IntN(8)
}

func (x *run) flip(name string, at int, mask byte) {
	data, err := os.ReadFile(name)
	if err == nil {
		data[at] ^= mask
		err = os.WriteFile(name, data, 0o600)
	}
	if err != nil {
		x.Fatal(err)
	}
}
