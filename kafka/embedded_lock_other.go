//go:build !unix

package kafka

// Without flock nothing keeps two processes from overwriting each other's events.

import (
	"fmt"
	"os"
	"runtime"
)

func lockDirectory(dir string) (*os.File, error) {
	return nil, fmt.Errorf("EMBEDDED_DATA_DIR=%s: the embedded broker needs file locks that %s does not have: set KAFKA_BROKERS", dir, runtime.GOOS)
}
