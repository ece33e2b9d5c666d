package stages

// The table of reasons is part of the API: what every entry must have.

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestReasonTable(t *testing.T) {
	upperSnake := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)
	seen := map[string]bool{"": true}
	for r := NoReason + 1; r < Reasons; r++ {
		if !upperSnake.MatchString(r.String()) || seen[r.String()] {
			t.Errorf("reason %d has the name %q: names are UPPER_SNAKE and unique", r, r)
		}
		seen[r.String()] = true
		if r.Text() == "" || strings.HasSuffix(r.Text(), ".") || r.Text() != strings.TrimSpace(r.Text()) {
			t.Errorf("%v: the text is %q", r, r.Text())
		}
		if _, ok := code.Code_name[int32(r.Code())]; !ok || r.Code() == OK {
			t.Errorf("%v: %d is not a google.rpc.Code of a failure", r, r.Code())
		}
		if r.Code() == Code(code.Code_UNKNOWN) {
			t.Errorf("%v: UNKNOWN says nothing", r)
		}
		if retryable := r.Code() == ResourceExhausted || r.Code() == Unavailable; retryable && r.Retry() <= 0 {
			t.Errorf("%v: a bare %d without retry advice is a bug", r, r.Code())
		}
		if r.Code() == InvalidArgument && r.Retry() != 0 {
			t.Errorf("%v: the same bad event will not get better after %v", r, r.Retry())
		}
		if r.Retry() < 0 {
			t.Errorf("%v: retry after %v", r, r.Retry())
		}
	}
	if NoReason.String() != "" || NoReason.Code() != OK || NoReason.Retry() != 0 || NoReason.Text() != "" {
		t.Error("no reason says something")
	}
}

func TestCodesAreGooglesOwn(t *testing.T) {
	for name, pair := range map[string][2]int32{
		"OK":                  {int32(OK), int32(code.Code_OK)},
		"INVALID_ARGUMENT":    {int32(InvalidArgument), int32(code.Code_INVALID_ARGUMENT)},
		"DEADLINE_EXCEEDED":   {int32(DeadlineExceeded), int32(code.Code_DEADLINE_EXCEEDED)},
		"PERMISSION_DENIED":   {int32(PermissionDenied), int32(code.Code_PERMISSION_DENIED)},
		"RESOURCE_EXHAUSTED":  {int32(ResourceExhausted), int32(code.Code_RESOURCE_EXHAUSTED)},
		"FAILED_PRECONDITION": {int32(FailedPrecondition), int32(code.Code_FAILED_PRECONDITION)},
		"OUT_OF_RANGE":        {int32(OutOfRange), int32(code.Code_OUT_OF_RANGE)},
		"UNIMPLEMENTED":       {int32(Unimplemented), int32(code.Code_UNIMPLEMENTED)},
		"INTERNAL":            {int32(Internal), int32(code.Code_INTERNAL)},
		"UNAVAILABLE":         {int32(Unavailable), int32(code.Code_UNAVAILABLE)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %d, want %d", name, pair[0], pair[1])
		}
	}
}

func TestOutcomesAreThoseOfTheAPI(t *testing.T) {
	if len(gatewayv1.Outcome_name) != int(Outcomes) {
		t.Fatalf("the API has %d outcomes, we %d", len(gatewayv1.Outcome_name), Outcomes)
	}
	for o := Acknowledged; o < Outcomes; o++ {
		if want := gatewayv1.Outcome_name[int32(o)]; "OUTCOME_"+strings.ToUpper(o.String()) != want {
			t.Errorf("outcome %d is %v, in the API %s", o, o, want)
		}
	}
	if Pending.String() != "pending" {
		t.Errorf("no outcome yet is called %v", Pending)
	}
}

func TestNamesOfStagesAndOrigins(t *testing.T) {
	var stages, origins []string
	for s := range StageIDs {
		stages = append(stages, s.String())
	}
	for o := range Origins {
		origins = append(origins, o.String())
	}
	if got, want := strings.Join(stages, " "), "admission decode validate ratelimit transform batch produce"; got != want {
		t.Errorf("the stages are %q, want %q", got, want)
	}
	if got, want := strings.Join(origins, " "), "grpc source replay"; got != want {
		t.Errorf("the origins are %q, want %q", got, want)
	}
}
