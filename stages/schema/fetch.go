package schema

// From a name to an answer: what the registry says, the references, the
// compiled schema. One goroutine does it from start to end and nobody waits for
// it longer than SCHEMA_TIMEOUT.

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// grace is how much longer than SCHEMA_TIMEOUT workers wait: a compiler cannot be told to stop.
	grace = 100 * time.Millisecond
	// maxSearched is how many versions are searched for a $id, the newest first.
	maxSearched = 20
	// forgetAfter is how long a schema that is known is used although the registry says that it does not have it.
	// Registries that keep their schemas in Kafka say so while they start: Apicurio for a second, with few schemas.
	forgetAfter = 30 * time.Second
)

// fetch asks the registry about the entry, and publishes the answer.
func (c *Cache) fetch(e *entry) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timeout)
	defer cancel()
	// over is closed by whoever comes first: the answer, or the end of the waiting. Then what was known is the
	// answer, until there is a better one.
	var over sync.Mutex
	ended := false
	watchdog := time.AfterFunc(c.cfg.Timeout+grace, func() {
		over.Lock()
		defer over.Unlock()
		if !ended {
			c.publish(e, c.unavailable(e, errTooLong), 0, false)
		}
	})
	defer watchdog.Stop()
	a, weight := c.ask(ctx, e)
	over.Lock()
	defer over.Unlock()
	ended = true
	c.publish(e, a, weight, true)
}

var errTooLong = fmt.Errorf("%w: fetching and compiling take too long", ErrUnavailable)

// ask is the fetch itself. It keeps what was known when the text is still the same, or when there is no answer.
func (c *Cache) ask(ctx context.Context, e *entry) (a *answer, weight int) {
	text, err := c.look(ctx, &e.name)
	var b *bundle
	if err == nil {
		b, err = gather(ctx, c.registry, text)
	}
	if err = c.doubt(e, err); err != nil {
		return c.refusal(e, err), c.keptWeight(e, err)
	}
	sum := b.digest()
	if e.known != nil && e.knownDigest == sum {
		c.fetched[fetchedSame].Add(1)
		again := *e.known
		again.until = c.lives(again.kind)
		return &again, again.weight()
	}
	compiled, err := compile(b, c.cfg.WireFormat == Confluent)
	if err != nil {
		if a = c.refusal(e, fmt.Errorf("%w: %w", ErrInvalid, err)); a.kind == usable {
			return a, a.weight() // the version before
		}
	} else {
		c.fetched[fetchedNew].Add(1)
		a = &answer{kind: usable, compiled: compiled, until: c.lives(usable)}
	}
	e.known, e.knownDigest = a, sum
	return a, a.weight()
}

// doubt is the error of a fetch, without what is not to be believed yet: that a schema which is known is gone.
func (c *Cache) doubt(e *entry, err error) error {
	if !errors.Is(err, ErrNotFound) || e.known == nil || e.known.kind != usable {
		e.gone = 0
		return err
	}
	now := c.exactNow()
	if e.gone == 0 {
		e.gone = now
	}
	if now-e.gone >= int64(forgetAfter) {
		return err
	}
	return fmt.Errorf("%w: it says that it does not have a schema that it had: %v", ErrUnavailable, err) //nolint:errorlint // not definite
}

// look finds the text that a name stands for.
func (c *Cache) look(ctx context.Context, n *name) (Text, error) {
	switch n.form {
	case byID:
		return c.registry.ByID(ctx, n.number)
	case byVersion:
		return c.registry.Version(ctx, string(n.subject), n.number)
	case byURI:
		return c.search(ctx, string(n.subject), string(n.uri))
	}
	return c.registry.Version(ctx, string(n.subject), 0)
}

// search finds the version of a subject whose $id is uri, the newest first.
func (c *Cache) search(ctx context.Context, subject, uri string) (Text, error) {
	versions, err := c.registry.Versions(ctx, subject)
	if err != nil {
		return Text{}, err
	}
	slices.Sort(versions)
	for i, version := range slices.Backward(versions) {
		if len(versions)-i > maxSearched {
			return Text{}, fmt.Errorf("%w: not among the newest %d versions", ErrNotFound, maxSearched)
		}
		text, err := c.registry.Version(ctx, subject, version)
		if err != nil {
			return Text{}, err
		}
		if text.Type == JSON && idOf(text.Definition) == uri {
			return text, nil
		}
	}
	return Text{}, fmt.Errorf("%w: no version has it", ErrNotFound)
}

// idOf is the $id of a JSON Schema ("id" up to draft 4), "" without one.
func idOf(definition string) string {
	var head struct {
		ID  string `json:"$id"`
		Old string `json:"id"`
	}
	if json.Unmarshal([]byte(definition), &head) != nil {
		return ""
	}
	if head.ID == "" {
		head.ID = head.Old
	}
	for len(head.ID) > 0 && head.ID[len(head.ID)-1] == '#' {
		head.ID = head.ID[:len(head.ID)-1]
	}
	return head.ID
}

// lives is until when an answer of that kind is believed. Schemas end up to a tenth early, so that those that
// were fetched together are not all fetched together again.
func (c *Cache) lives(k answerKind) int64 {
	ttl := min(negativeTTL, c.cfg.CacheTTL)
	if k == usable {
		ttl = c.cfg.CacheTTL - rand.N(c.cfg.CacheTTL/10)
	}
	return c.exactNow() + int64(ttl)
}

// refusal is the answer when the fetch brought no schema.
func (c *Cache) refusal(e *entry, err error) *answer {
	if c.options.Failed != nil && c.ctx.Err() == nil {
		c.options.Failed(e.name.String(), err)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		c.fetched[fetchedMissing].Add(1)
		e.known = nil
		return &answer{kind: missing, until: c.lives(missing), detail: &stages.Detail{
			Message: "the registry does not have " + e.name.String()}}
	case errors.Is(err, ErrInvalid):
		c.fetched[fetchedInvalid].Add(1)
		if old := e.known; old != nil && old.kind == usable {
			// A new version that nobody can use takes the one before it away from nobody.
			again := *old
			again.stale, again.until = true, c.lives(invalid)
			return &again
		}
		e.known = nil
		return &answer{kind: invalid, until: c.lives(invalid), detail: &stages.Detail{Message: clip(e.name.String() + ": " + err.Error())}}
	}
	c.fetched[fetchedFailed].Add(1)
	return c.unavailable(e, err)
}

// unavailable is the answer when the registry did not say: what was known, if that may be used.
func (c *Cache) unavailable(e *entry, err error) *answer {
	if old := e.answer.Load(); old != nil && c.cfg.OnUnavailable != Reject && (old.kind == usable || old.kind == missing) {
		again := *old
		again.superseded = false
		again.stale, again.until = true, c.exactNow()+int64(min(staleRetry, c.cfg.CacheTTL))
		return &again
	}
	message := "the registry could not be asked for " + e.name.String()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTooLong) {
		message = fmt.Sprintf("the registry did not give %s within %v", e.name.String(), c.cfg.Timeout)
	}
	return &answer{kind: failed, until: c.exactNow() + int64(failedTTL), detail: &stages.Detail{Message: message}}
}

// keptWeight is what the entry still weighs after a fetch that brought no schema.
func (c *Cache) keptWeight(e *entry, err error) int {
	if known := e.known; errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) && (known == nil || known.kind != usable) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.weight
}

// digest is the same for the same text with the same references.
func (b *bundle) digest() (d digest) {
	h := sha256.New()
	for _, t := range append(b.references, resolved{text: b.root}) {
		fmt.Fprintf(h, "%q %q %d %d %d\n%q\n", t.name, t.text.Subject, t.text.Version, t.text.ID, t.text.Type, t.text.Definition)
		for _, r := range t.text.References {
			fmt.Fprintf(h, "%q %q %d\n", r.Name, r.Subject, r.Version)
		}
	}
	h.Sum(d[:0])
	return d
}
