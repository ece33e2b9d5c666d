package transport

const (
	healthPath = "/health"
	readyPath  = "/ready"
)
