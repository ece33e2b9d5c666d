// Package deploy holds what runs the gateway elsewhere. No container engine runs in the tests; they hold
// the files against each other and against the rules that an engine would not check.
package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composeFile is the part of the Compose format that compose.yaml uses. Reading is strict: a key that is
// not here, a mistyped one among them, fails the test.
type composeFile struct {
	Name        string             `yaml:"name"`
	Kafka       service            `yaml:"x-kafka"`
	KafkaValues map[string]string  `yaml:"x-kafka-environment"`
	Services    map[string]service `yaml:"services"`
	Volumes     map[string]any     `yaml:"volumes"`
}

type service struct {
	Image     string               `yaml:"image"`
	Build     *build               `yaml:"build"`
	Restart   string               `yaml:"restart"`
	DependsOn map[string]condition `yaml:"depends_on"`
	Values    map[string]string    `yaml:"environment"`
	Ports     []string             `yaml:"ports"`
	Mounts    []string             `yaml:"volumes"`
	Health    *health              `yaml:"healthcheck"`
	StopAfter string               `yaml:"stop_grace_period"`
	ReadOnly  bool                 `yaml:"read_only"`
	CapDrop   []string             `yaml:"cap_drop"`
	Security  []string             `yaml:"security_opt"`
}

type build struct {
	Context string            `yaml:"context"`
	Args    map[string]string `yaml:"args"`
}

type condition struct {
	Condition string `yaml:"condition"`
}

type health struct {
	Test        []string `yaml:"test"`
	Interval    string   `yaml:"interval"`
	Timeout     string   `yaml:"timeout"`
	Retries     int      `yaml:"retries"`
	StartPeriod string   `yaml:"start_period"`
}

func TestComposeServicesAreWatchedAndRestarted(t *testing.T) {
	compose := readCompose(t)
	for name, s := range compose.Services {
		if s.Health == nil || len(s.Health.Test) == 0 || s.Health.Interval == "" || s.Health.Timeout == "" {
			t.Errorf("service %s has no complete healthcheck", name)
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("service %s: restart is %q, want unless-stopped", name, s.Restart)
		}
		for other, c := range s.DependsOn {
			if _, ok := compose.Services[other]; !ok {
				t.Errorf("service %s depends on %s, which does not exist", name, other)
			}
			if c.Condition != "service_healthy" {
				t.Errorf("service %s starts when %s is %q, want service_healthy", name, other, c.Condition)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("service %s publishes %s beyond this machine", name, port)
			}
		}
	}
}

func TestComposeMounts(t *testing.T) {
	compose := readCompose(t)
	used := map[string]bool{}
	for name, s := range compose.Services {
		for _, mount := range s.Mounts {
			source, _, _ := strings.Cut(mount, ":")
			_, volume := compose.Volumes[source]
			used[source] = true
			if volume {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Errorf("service %s mounts %s, which is neither a volume nor a file: %v", name, source, err)
			}
		}
	}
	for volume := range compose.Volumes {
		if !used[volume] {
			t.Errorf("volume %s is used by no service", volume)
		}
	}
}

func TestComposeKafka(t *testing.T) {
	compose := readCompose(t)
	var brokers, voters []string
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("kafka-%d", i)
		s, ok := compose.Services[name]
		if !ok {
			t.Fatalf("service %s is missing", name)
		}
		brokers = append(brokers, name+":19092")
		voters = append(voters, fmt.Sprintf("%d@%s:9093", i, name))
		for key, want := range map[string]string{
			"KAFKA_NODE_ID":                    fmt.Sprint(i),
			"KAFKA_PROCESS_ROLES":              "broker,controller",
			"KAFKA_DEFAULT_REPLICATION_FACTOR": "3",
			"KAFKA_MIN_INSYNC_REPLICAS":        "2",
		} {
			if got := s.Values[key]; got != want {
				t.Errorf("service %s: %s is %q, want %q", name, key, got, want)
			}
		}
		advertised := s.Values["KAFKA_ADVERTISED_LISTENERS"]
		published, _, _ := strings.Cut(strings.TrimPrefix(s.Ports[0], "127.0.0.1:"), ":")
		for _, listener := range []string{"INTERNAL://" + name + ":19092", "EXTERNAL://127.0.0.1:" + published} {
			if !slices.Contains(strings.Split(advertised, ","), listener) {
				t.Errorf("service %s advertises %s, without %s", name, advertised, listener)
			}
		}
	}
	if got, want := compose.KafkaValues["KAFKA_CONTROLLER_QUORUM_VOTERS"], strings.Join(voters, ","); got != want {
		t.Errorf("quorum voters are %s, want %s", got, want)
	}
	gateway := compose.Services["gateway"].Values
	if got, want := gateway["KAFKA_BROKERS"], strings.Join(brokers, ","); got != want {
		t.Errorf("the gateway's KAFKA_BROKERS is %s, want %s", got, want)
	}
	if got := gateway["KAFKA_REPLICATION_FACTOR"]; got != "3" {
		t.Errorf("the gateway's KAFKA_REPLICATION_FACTOR is %q, want 3", got)
	}
}

func TestImagesAreFixed(t *testing.T) {
	images := map[string]string{}
	for name, s := range readCompose(t).Services {
		if s.Build == nil {
			images["compose.yaml, "+name] = s.Image
		} else if strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":") {
			t.Errorf("compose.yaml, %s: its own image %q is built without a version", name, s.Image)
		}
	}
	for i, line := range dockerfile(t) {
		if image, ok := strings.CutPrefix(line, "FROM "); ok {
			images[fmt.Sprintf("Dockerfile, instruction %d", i+1)] = strings.Fields(image)[0]
		}
	}
	for where, image := range images {
		if err := fixedVersion(image); err != nil {
			t.Errorf("%s: image %q: %v", where, image, err)
		}
	}
}

var (
	digest      = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	fullVersion = regexp.MustCompile(`:v?[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.]+)?$`)
)

// fixedVersion refuses images that can change under the same name: no tag, a word such as latest or
// nonroot, or a version that is not written out to the last number. A digest is always good.
func fixedVersion(image string) error {
	switch {
	case digest.MatchString(image), fullVersion.MatchString(image):
		return nil
	default:
		return fmt.Errorf("pin it to a full version (name:1.2.3) or a digest")
	}
}

func TestFixedVersion(t *testing.T) {
	sum := "@sha256:" + strings.Repeat("0a", 32)
	for image, good := range map[string]bool{
		"apache/kafka:4.1.1":                    true,
		"golang:1.26.8-bookworm":                true,
		"prom/prometheus:v3.5.0":                true,
		"gcr.io/distroless/static:nonroot":      false,
		"gcr.io/distroless/static:latest" + sum: true,
		"apache/kafka":                          false,
		"apache/kafka:latest":                   false,
		"golang:1.26":                           false,
		"localhost:5000/gateway":                false,
		"gateway:${VERSION}":                    false,
	} {
		if err := fixedVersion(image); (err == nil) != good {
			t.Errorf("%s: got %v, want good = %t", image, err, good)
		}
	}
}

// TestDockerfileBuildsByMake: the image's binary is the one that developers build, because both come from
// one recipe.
func TestDockerfileBuildsByMake(t *testing.T) {
	targets := makeTargets(t)
	built := false
	for _, line := range dockerfile(t) {
		command, ok := strings.CutPrefix(line, "RUN ")
		if !ok {
			continue
		}
		words := strings.Fields(command)
		switch {
		case words[0] == "make":
			if !slices.Contains(targets, words[1]) {
				t.Errorf("Dockerfile runs %q; the Makefile has no target %s", command, words[1])
			}
			built = built || words[1] == "build"
		case strings.Contains(command, "go build") || strings.Contains(command, "go install"):
			t.Errorf("Dockerfile runs %q; build by make, so that there is one recipe", command)
		}
	}
	if !built {
		t.Error("Dockerfile does not run make build")
	}
}

func TestDockerfileRuns(t *testing.T) {
	lines := dockerfile(t)
	for _, want := range []string{
		"USER 65532:65532",
		"EXPOSE 50051 8080",
		`ENTRYPOINT ["/gateway"]`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("Dockerfile has no line %s", want)
		}
	}
	last := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "HEALTHCHECK ") })
	if last < 0 || !strings.HasSuffix(lines[last], `CMD ["/gateway", "healthcheck"]`) {
		t.Error("Dockerfile has no HEALTHCHECK that runs the gateway's own healthcheck")
	}
	goVersion := regexp.MustCompile(`(?m)^go ([0-9.]+)$`).FindStringSubmatch(read(t, "go.mod"))
	if goVersion == nil || !strings.HasPrefix(lines[0], "FROM golang:"+goVersion[1]+"-") {
		t.Errorf("Dockerfile begins with %s; go.mod asks for Go %v", lines[0], goVersion)
	}
}

// TestPrometheusScrapesTheGateway: the scrape target is a service of the compose file, on its HTTP port.
func TestPrometheusScrapesTheGateway(t *testing.T) {
	var config struct {
		ScrapeConfigs []struct {
			MetricsPath   string `yaml:"metrics_path"`
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.ScrapeConfigs) != 1 || len(config.ScrapeConfigs[0].StaticConfigs) != 1 {
		t.Fatalf("prometheus.yml has %d scrape jobs, want one with one list of targets", len(config.ScrapeConfigs))
	}
	job := config.ScrapeConfigs[0]
	if targets := job.StaticConfigs[0].Targets; !slices.Equal(targets, []string{"gateway:8080"}) {
		t.Errorf("prometheus scrapes %v, want gateway:8080", targets)
	}
	if job.MetricsPath != "/metrics" {
		t.Errorf("prometheus scrapes %s, want /metrics", job.MetricsPath)
	}
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "compose.yaml"))))
	decoder.KnownFields(true)
	var compose composeFile
	if err := decoder.Decode(&compose); err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	return compose
}

// dockerfile returns the instructions of the Dockerfile without comments and blank lines.
func dockerfile(t *testing.T) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func makeTargets(t *testing.T) []string {
	t.Helper()
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	return targets
}

// read returns a file of the repository, by its path from the root.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
