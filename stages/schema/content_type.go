package schema

// What data_content_type says about the encoding of Avro and Protobuf data.

import (
	"bytes"
	"mime"
	"strings"

	"github.com/event-gateway/event-gateway/stages"
)

// isJSON: application/json, text/json, or some application/x+json, whatever its parameters.
func isJSON(ev *stages.Event) bool {
	if !ev.More || len(ev.DataContentType.Value) == 0 {
		return false
	}
	t, _, _ := bytes.Cut(ev.DataContentType.Value, []byte(";"))
	t = bytes.TrimSpace(t)
	return bytes.EqualFold(t, []byte("application/json")) || bytes.EqualFold(t, []byte("text/json")) ||
		len(t) > 5 && bytes.EqualFold(t[len(t)-5:], []byte("+json"))
}

// messageType is the parameter of that name, "" when there is none.
func messageType(contentType []byte) string {
	if bytes.IndexByte(contentType, ';') < 0 {
		return ""
	}
	_, parameters, err := mime.ParseMediaType(string(contentType))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(parameters["messagetype"], ".")
}
