package transport

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/event-gateway/event-gateway/stages"
)

// A cursor that is too long for a header is left out, and the status comes.
func TestStatusesFitIntoAHeader(t *testing.T) {
	f := failure{reason: stages.SlowClient, message: "too slow", metadata: map[string]string{
		"cursor": strings.Repeat("c", maxMetadata+1), "position": strings.Repeat("p", maxMetadata)}}
	for _, d := range f.status().Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if info.Metadata["cursor"] != "" || info.Metadata["position"] == "" {
				t.Errorf("entries of %d and %d bytes", len(info.Metadata["cursor"]), len(info.Metadata["position"]))
			}
			return
		}
	}
	t.Error("no ErrorInfo")
}
