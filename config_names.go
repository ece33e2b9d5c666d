package main

// Names in the environment that are not settings of this version: those of
// features that are not built yet stop the start when set, so that no door looks
// closed that is not there; others that look like ours are warned about.

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/event-gateway/event-gateway/cli"
)

// laterNames are given names of features that are not in this version, with the default under which they do
// nothing; deployments may have them already. "" = any value asks for the feature.
var laterNames = map[string]string{
	"AUTH_ENABLED": "false", "JWT_SECRET": "", "JWT_ISSUER": "event-gateway", "JWT_TOKEN_EXPIRY": "24h",
	"DEDUPE_WINDOW": "",
}

// laterPrefixes are the families of such names.
var laterPrefixes = []string{"AUTH_", "JWT_", "DEDUPE_",
	"KAFKA_TLS_", "KAFKA_SASL_", "GRPC_TLS_", "HTTP_TLS_"}

// notBuilt returns one line for every variable of a feature that is not built.
func notBuilt(environ map[string]string) (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		value := environ[name]
		if value == "" || !isLater(name) {
			continue
		}
		harmless := laterNames[name]
		if harmless != "" && value == harmless {
			continue
		}
		if off, err := strconv.ParseBool(value); harmless == "false" && err == nil && !off {
			continue
		}
		problems = append(problems, fmt.Errorf("%s: not in this version; unset it", oneLine(name)))
	}
	return problems
}

func isLater(name string) bool {
	if _, ok := laterNames[name]; ok {
		return true
	}
	return slices.ContainsFunc(laterPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// ourPrefixes are those of our names; a name with one of them that is not ours is likely a slip.
var ourPrefixes = []string{"KAFKA_", "GRPC_", "HTTP_", "STAGE_", "RATE_LIMIT_", "BATCH_", "EMBEDDED_", "LOG_",
	"METRICS_", "SHUTDOWN_", "STREAM_", "MAX_", "RING_", "BREAKER_", "CLIENT_MAX_", "PARTITION_MAX_", "ADMISSION_",
	"DELIVERY_", "PPROF_", "SINK_", "DLQ_", "SCHEMA_", "REPLAY_", "SUBSCRIBE_"}

// foreign are names of others that begin like ours: the Go and C gRPC libraries' own switches, proxies,
// and what Kubernetes sets for a service called kafka or grpc.
func foreign(name, value string) bool {
	return strings.HasPrefix(name, "GRPC_GO_") || strings.HasPrefix(name, "GRPC_XDS_") || strings.HasPrefix(name, "GRPC_EXPERIMENTAL_") ||
		strings.HasPrefix(name, "GRPC_DEFAULT_") || strings.HasPrefix(name, "GRPC_SSL_") ||
		slices.Contains([]string{"HTTP_PROXY", "GRPC_PROXY", "GRPC_TRACE", "GRPC_VERBOSITY", "GRPC_ENFORCE_ALPN_ENABLED", "LOG_FILE"}, name) ||
		strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.Contains(name, "_PORT_") || strings.HasPrefix(value, "tcp://")
}

// unknownNames warns about names that look like ours and are not.
func unknownNames(environ map[string]string, settings []cli.Setting) (warnings []string) {
	known := map[string]bool{}
	for _, s := range settings {
		known[s.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		ours := slices.ContainsFunc(ourPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !ours || known[name] || isLater(name) || foreign(name, environ[name]) {
			continue
		}
		warning := oneLine(name) + " is set, but the gateway has no such setting"
		if near := nearest(name, settings); near != "" {
			warning += "; did you mean " + near + "?"
		}
		warnings = append(warnings, warning)
	}
	return warnings
}

// nearest is the known name with the fewest edits to name, if those are few.
func nearest(name string, settings []cli.Setting) string {
	best, least := "", 1+len(name)/4
	for _, s := range settings {
		if d := levenshtein.ComputeDistance(name, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	return best
}
