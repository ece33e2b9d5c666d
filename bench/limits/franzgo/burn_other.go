//go:build !linux

package main

import "time"

var started = time.Now()

// threadTime is time that passes, where there is no clock of a thread's processor time: too much when threads share
// processors.
func threadTime() time.Duration { return time.Since(started) }
