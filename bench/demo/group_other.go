//go:build !unix

package main

// Where there are no process groups, the gateway stays in the demo's.

import "syscall"

func ownGroup() *syscall.SysProcAttr { return nil }
