package main

// The packages' own benchmarks, for benchstat.

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// micro runs go test -bench and keeps its output.
func (b *bench) micro(ctx context.Context, r *report) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", "200ms", "-count", "5",
		"./cli", "./ring", "./stages", "./pipeline", "./transport", "./kafka", "./bench")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	file := filepath.Join(b.out, "micro.txt")
	if e := os.WriteFile(file, out.Bytes(), 0o644); err == nil {
		err = e
	}
	r.addf("\n## Packages\n\nRaw output for benchstat: micro.txt\n\n```\n%s```\n", out.String())
	return err
}
