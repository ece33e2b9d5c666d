package transport

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// statusOf is an error's code and reason; the reason is empty without an ErrorInfo.
func statusOf(err error) reasonOf {
	st, _ := status.FromError(err)
	r := reasonOf{code: st.Code()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			r.reason = info.Reason
		}
	}
	return r
}
