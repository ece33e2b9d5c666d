package schema

// A schema and everything that it imports, in the order in which compilers want
// it: what is imported comes before what imports it.

import (
	"context"
	"errors"
	"fmt"
)

// Bounds of a schema with its references. A text alone is at most what the registry's client lets in (1 MiB).
const (
	maxReferences  = 100
	maxBundleBytes = 2 << 20
)

// resolved is a text under the name by which others import it.
type resolved struct {
	name string
	text Text
}

// bundle is a schema and its references, all of them, each once.
type bundle struct {
	root       Text
	references []resolved
	bytes      int
}

// place is where a text is registered.
type place struct {
	subject string
	version int
}

// gatherer walks the references, depth first.
type gatherer struct {
	registry Registry
	bundle   *bundle
	// state has the places seen: false while their own references are being walked.
	state map[place]bool
	// texts and names: one text may be imported by several names, and each is a file of its own to compilers.
	texts map[place]Text
	names map[resolvedKey]bool
}

type resolvedKey struct {
	name string
	at   place
}

// gather fetches the references of root.
func gather(ctx context.Context, registry Registry, root Text) (*bundle, error) {
	g := &gatherer{registry: registry, bundle: &bundle{root: root}, state: map[place]bool{},
		texts: map[place]Text{}, names: map[resolvedKey]bool{}}
	if err := g.weigh(root); err != nil {
		return nil, err
	}
	at := place{root.Subject, root.Version}
	if root.Subject != "" {
		g.state[at] = false
	}
	if err := g.walk(ctx, root); err != nil {
		return nil, err
	}
	return g.bundle, nil
}

func (g *gatherer) weigh(t Text) error {
	g.bundle.bytes += len(t.Definition)
	if g.bundle.bytes > maxBundleBytes {
		return fmt.Errorf("%w: it has more than %d bytes with its references", ErrInvalid, maxBundleBytes)
	}
	return nil
}

func (g *gatherer) walk(ctx context.Context, t Text) error {
	for _, r := range t.References {
		at := place{r.Subject, r.Version}
		done, seen := g.state[at]
		switch {
		case seen && !done:
			return fmt.Errorf("%w: its references form a circle through version %d of subject %s", ErrInvalid, r.Version, shown(r.Subject))
		case g.names[resolvedKey{r.Name, at}]:
			continue
		case len(g.bundle.references) >= maxReferences, len(g.texts) >= maxReferences && !seen:
			return fmt.Errorf("%w: it has more than %d references", ErrInvalid, maxReferences)
		}
		if !seen {
			if err := g.fetch(ctx, r, at); err != nil {
				return err
			}
		}
		g.names[resolvedKey{r.Name, at}] = true
		g.bundle.references = append(g.bundle.references, resolved{r.Name, g.texts[at]})
	}
	return nil
}

// fetch gets a text that was not seen before, and walks its references.
func (g *gatherer) fetch(ctx context.Context, r Reference, at place) error {
	if !usableSubject([]byte(r.Subject)) || r.Version < 1 {
		return fmt.Errorf("%w: it has a reference to version %d of subject %s", ErrInvalid, r.Version, shown(r.Subject))
	}
	text, err := g.registry.Version(ctx, r.Subject, r.Version)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrInvalid, errors.New("the registry does not have it"))
	}
	if err != nil {
		return fmt.Errorf("its reference to version %d of subject %s: %w", r.Version, shown(r.Subject), err)
	}
	if err := g.weigh(text); err != nil {
		return err
	}
	g.state[at] = false
	g.texts[at] = text
	if err := g.walk(ctx, text); err != nil {
		return err
	}
	g.state[at] = true
	return nil
}
