//go:build unix && !linux

package kafkatest

// Elsewhere only a test that ends in order ends its children.

import "syscall"

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
