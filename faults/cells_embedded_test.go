//go:build faults

package faults

// The embedded broker's disk: full, damaged, claimed twice, kept within bounds.

import (
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
			load: rig.Load{Resend: true}, prepare: smallDisk, alive: 15 * time.Second, hurt: func(x *run) {
				if !rig.Within(20*time.Second, func() bool { n := x.ledger.Count(); return n.Unknown+n.Refused > 0 }) {
					x.Fatal("the disk does not become full")
				}
				x.lasts(2*time.Second, 20*time.Second)
				if err := syscall.Mount("tmpfs", x.disk(), "tmpfs", syscall.MS_REMOUNT, "size=2g"); err != nil {
					x.Fatal(err)
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
	}
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
