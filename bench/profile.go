package main

// Profiles of the gateway at work, one run a shape: they are not part of any figure.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	// profileSeconds is what a profile takes; the load lasts profileMargin longer, so that the profile ends
	// under load.
	profileSeconds = 2
	profileMargin  = 500 * time.Millisecond
)

func (b *bench) profileShapes(ctx context.Context, r *report) error {
	type job struct {
		name, title string
		scene       scene
	}
	large, many := b.usual(), b.usual()
	large.size = 4 << 10
	many.streams, many.window = 1000, 4
	var jobs []job
	for _, s := range b.sendingShapes() {
		jobs = append(jobs, job{s.file, s.name + ", discarding broker", scene{server: gateway, broker: discarding, partitions: 3, load: s.load}})
	}
	jobs = append(jobs, job{"batch-100-embedded", "batch stream, 100 a message, embedded broker",
		scene{server: gateway, broker: embedded, partitions: 3, load: b.usual()}},
		job{"batch-100-4KiB", "batch stream, 100 a message, events of 4 KiB, discarding broker",
			scene{server: gateway, broker: discarding, partitions: 3, load: large}},
		job{"batch-100-1000-streams", "batch stream, 100 a message, 1000 streams, discarding broker",
			scene{server: gateway, broker: discarding, partitions: 3, load: many}},
		job{"batch-100-blocking", "batch stream, 100 a message, discarding broker, where goroutines wait",
			scene{server: gateway, broker: discarding, partitions: 3, load: b.usual()}})
	for i := range jobs {
		j := &jobs[i]
		j.scene.profile, j.scene.load.took = "e2e-"+j.name, profileSeconds*time.Second+profileMargin
		b.titled(j.scene.profile, "end to end: "+j.title)
		say("profiles of %s", j.scene)
		if _, err := b.run(ctx, j.scene); err != nil {
			b.fail(err)
		}
	}
	r.addf("\n## Where the gateway's CPU goes\n\nDiscarding broker, 2 streams. Whose code it was: that of the innermost function of one of them, so that what the runtime and the kernel do " +
		"for somebody counts as his; by itself is what the runtime does on its own.\n")
	r.owners(ctx, b)
	r.addf("\n100 events a message. By stage (goroutines of franz-go carry the stage that "+
		"started them; a stage's work may be done by the worker before it), then by function.\n\n```\n%s%s```\n",
		b.pprof(ctx, "e2e-batch-100", "-tags"), b.pprof(ctx, "e2e-batch-100", "-top", "-nodecount=40"))
	return nil
}

// pprof is what go tool pprof prints of a CPU profile.
func (b *bench) pprof(ctx context.Context, name string, args ...string) string {
	args = append(append([]string{"tool", "pprof"}, args...), filepath.Join(b.out, "profiles", name+".cpu.pprof"))
	text, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		b.fail(fmt.Errorf("go tool pprof of %s: %w", name, err))
	}
	return string(text)
}

// profiles fetches a scene's profiles while its load runs. The channel gives one result.
func (b *bench) profiles(ctx context.Context, s scene, st *stage) <-chan error {
	done := make(chan error, 1)
	if s.profile == "" {
		done <- nil
		return done
	}
	kinds := map[string]string{"cpu": "profile", "alloc": "allocs"}
	if s.profile == "e2e-batch-100-blocking" { // taking these costs something, so they have a run of their own
		kinds = map[string]string{"block": "block", "mutex": "mutex"}
	}
	fetched := make(chan error, len(kinds))
	for kind, page := range kinds {
		url := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", st.servers[0].http, page, profileSeconds)
		go func() { fetched <- fetch(ctx, url, filepath.Join(b.out, "profiles", s.profile+"."+kind+".pprof")) }()
	}
	go func() {
		var err error
		for range kinds {
			err = errors.Join(err, <-fetched)
		}
		done <- err
	}()
	return done
}

func fetch(ctx context.Context, url, file string) error {
	raw, err := get(ctx, url)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}
