//go:build !linux

package cli

import "time"

// sleepPrecisely is only known for Linux; elsewhere timers must do.
func sleepPrecisely(time.Duration) bool { return false }
