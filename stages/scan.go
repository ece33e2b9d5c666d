package stages

// Scan is declared here for transport; the wire scan itself is decode's.

// Scan counts the events of a batch frame and reads want_results without decoding events.
// ok is false when the frame is not a valid IngestEventBatchRequest on its top level.
func Scan(frame []byte) (events int, wantResults bool, ok bool) { panic("stub") }
