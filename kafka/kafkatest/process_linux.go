package kafkatest

// On Linux a child is killed by the kernel when the test process dies, however it dies.

import "syscall"

func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
