//go:build unix

package kafka

// One process per data directory: two would overwrite each other's events.

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDirectory takes the directory's lock for as long as the file is open;
// the kernel gives it back when the process ends, however it ends.
func lockDirectory(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("EMBEDDED_DATA_DIR=%s: another process uses this directory (%s is locked): "+
			"stop it, or give this one a directory of its own", dir, path)
	}
	return f, nil
}
