//go:build unix && !linux

// Elsewhere only a test that ends in order ends its children.
package kafkatest

import "syscall"

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
