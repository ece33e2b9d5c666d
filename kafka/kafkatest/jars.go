//go:build unix

package kafkatest

// The cache: Kafka's jars and a formatted bootstrap checkpoint, fetched and made once per machine.

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	version = "4.1.1" // of Kafka; pom.xml names the same
	// clusterID is any 16 bytes in base64url: the brokers of one cluster must agree on it, nothing else reads
	// it.
	clusterID  = "ZXZlbnQtZ2F0ZXdheS10ZQ"
	checkpoint = "bootstrap.checkpoint"
	// fetchTimeout bounds the download of about 45 MB over a slow line.
	fetchTimeout = 10 * time.Minute
)

//go:embed pom.xml
var pom []byte

// CacheDir is the folder in which test tools keep what they download, outside the repository:
// EVENT_GATEWAY_CACHE, or event-gateway in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("EVENT_GATEWAY_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no user cache folder (%w): set EVENT_GATEWAY_CACHE to a folder for downloads", err)
	}
	return filepath.Join(dir, "event-gateway"), nil
}

// Once fills CacheDir()/name by calling fill, unless a former call with the same key completed. Test packages
// run as processes side by side: a lock file lets the first one fill and the others wait; a marker file,
// written last, says that the folder is complete and for which key, so that an interrupted or outdated fill
// is done again.
func Once(name, key string, fill func(dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // closing gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	dir := filepath.Join(cache, name)
	marker := filepath.Join(dir, "complete")
	if got, err := os.ReadFile(marker); err == nil && string(got) == key {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(marker, []byte(key), 0o644)
}

// distribution returns the folder that holds lib/*.jar and the bootstrap checkpoint.
func distribution() (string, error) {
	sum := sha256.Sum256(pom)
	return Once("kafka-"+version, hex.EncodeToString(sum[:]), func(dir string) error {
		if err := fetchJars(dir); err != nil {
			return err
		}
		return formatOnce(dir)
	})
}

func fetchJars(dir string) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return errors.New("mvn is not on the PATH: fetching Kafka needs Maven, running it Java 17 or newer " +
			"(Debian: apt-get install maven openjdk-17-jre-headless)")
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	return runTool(dir, "mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "lib"))
}

// formatOnce lets Kafka's own tool write the records a new cluster begins with (its feature levels). They are
// the same for every cluster of this version, so brokers get a copy: a run of the tool costs a second of two
// cores.
func formatOnce(dir string) error {
	data := filepath.Join(dir, "format")
	defer func() { _ = os.RemoveAll(data) }()
	conf := filepath.Join(dir, "format.properties")
	text := "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n" +
		"listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n" +
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs=" + data + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	err := runTool(dir, "java", "-cp", filepath.Join(dir, "lib", "*"), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", conf)
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(data, checkpoint), filepath.Join(dir, checkpoint))
}

func runTool(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, lastLines(out, 40))
	}
	return nil
}
