package stages

// What the graph knows about a sender: its rate and its share of memory.
// Transport keeps the bounded table of clients; a Client is resolved once a
// call or stream and carried along with every message.

import "sync/atomic"

// Client is one sender. Safe for concurrent use.
type Client struct {
	// Name is for logs and answers: the peer's address without port, later the token's subject.
	Name string
	// Limit is the client's bucket, charged by the ratelimit stage.
	Limit Bucket
	// Share is the pipeline's budget of this client; transport never touches it. It is made with
	// pipeline.NewClient.
	Share any
	// inUse counts calls and streams that hold the client, so that the table does not evict it.
	inUse atomic.Int64
}

// Hold marks the client as used by one more call or stream; Unhold ends that.
func (c *Client) Hold() { c.inUse.Add(1) }

// Unhold ends a Hold.
func (c *Client) Unhold() { c.inUse.Add(-1) }

// Idle reports whether nobody holds the client.
func (c *Client) Idle() bool { return c.inUse.Load() == 0 }
