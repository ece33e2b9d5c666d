package main

// What the gateway answers to a raw client, as one line of text, which the rows of the hostile inputs compare.

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// frames are the messages of the answer so far.
func (a *rawAnswer) frames() (frames [][]byte) {
	for b := a.body; len(b) >= 5; {
		n := int(b[1])<<24 | int(b[2])<<16 | int(b[3])<<8 | int(b[4])
		if len(b) < 5+n {
			break
		}
		frame := b[5 : 5+n]
		if b[0] == 1 {
			if r, err := gzip.NewReader(bytes.NewReader(frame)); err == nil {
				frame, _ = io.ReadAll(r)
			}
		}
		frames = append(frames, frame)
		b = b[5+n:]
	}
	return frames
}

// text is the answer in one line: HTTP status unless 200, code, reason, field at fault, whether to retry. Answers of
// events come first, each on its own.
func (a *rawAnswer) text() string {
	var parts []string
	for _, frame := range a.frames() {
		parts = append(parts, eventText(frame))
	}
	switch {
	case a.reset != "":
		parts = append(parts, a.reset)
	case a.ended:
		if s := a.status(); s != "OK" || len(parts) == 0 {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}

func (a *rawAnswer) status() string {
	var words []string
	if s := a.headers[":status"]; s != "200" {
		words = append(words, "HTTP "+s)
	}
	number, err := strconv.Atoi(a.trailers["grpc-status"])
	if err != nil {
		return strings.Join(append(words, "no grpc-status"), " ")
	}
	words = append(words, codeName(codes.Code(number)))
	details := a.trailers["grpc-status-details-bin"]
	if details == "" && number != 0 {
		message, _ := url.PathUnescape(a.trailers["grpc-message"])
		return strings.Join(append(words, fmt.Sprintf("(%s)", message)), " ")
	}
	return strings.Join(append(words, detailWords(details)...), " ")
}

// codeName is a code as the API writes it.
func codeName(c codes.Code) string {
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' && c != codes.OK {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

// detailWords are reason, field and retry advice of a google.rpc.Status.
func detailWords(encoded string) (words []string) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	var st spb.Status
	if err != nil || proto.Unmarshal(b, &st) != nil {
		return []string{"unreadable details"}
	}
	for _, any := range st.Details {
		m, err := any.UnmarshalNew()
		if err != nil {
			return append(words, "unreadable detail "+any.TypeUrl)
		}
		switch d := m.(type) {
		case *errdetails.ErrorInfo:
			if d.Domain != "eventgateway" {
				words = append(words, "domain "+d.Domain)
			}
			words = append(words, d.Reason)
		case *errdetails.BadRequest:
			for _, v := range d.FieldViolations {
				words = append(words, v.Field)
			}
		case *errdetails.QuotaFailure:
			words = append(words, "quota")
		case *errdetails.RetryInfo:
			words = append(words, "retry "+d.RetryDelay.AsDuration().String())
		}
	}
	return words
}
