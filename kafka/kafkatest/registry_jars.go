//go:build unix

package kafkatest

// The cache: Apicurio Registry's jars and an archive of the classes it loads, fetched and made once per
// machine.

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	registryVersion = "3.0.9" // registry.xml names the same
	registryJar     = "apicurio-registry-app-" + registryVersion + "-runner.jar"
	classArchive    = "classes.jsa"
)

//go:embed registry.xml
var registryPOM []byte

// registryDistribution returns the folder that holds registryJar, its lib folder and the class archive.
func registryDistribution() (string, error) {
	sum := sha256.Sum256(registryPOM)
	return Once("registry-"+registryVersion, hex.EncodeToString(sum[:]), func(dir string) error {
		if err := fetchRegistry(dir); err != nil {
			return err
		}
		return archiveClasses(dir)
	})
}

func fetchRegistry(dir string) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return errors.New("mvn is not on the PATH: fetching the schema registry needs Maven, running it " +
			"Java 17 or newer (Debian: apt-get install maven openjdk-17-jre-headless)")
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), registryPOM, 0o644); err != nil {
		return err
	}
	return runTool(dir, "mvn", "--batch-mode", "--quiet", "dependency:unpack", "-DoutputDirectory="+dir)
}

// archiveClasses lets a first registry run write down which classes it loaded: the next ones are ready after
// 2.9 s instead of 6.4 s on Kafka (medians on two cores), 1.6 s in memory. A Java that does not like the
// archive runs without it.
func archiveClasses(dir string) error {
	scratch, err := os.MkdirTemp(dir, "first-run-")
	if err != nil {
		return err
	}
	archive := filepath.Join(dir, classArchive)
	r, err := launchRegistry(dir, scratch, nil, "-XX:ArchiveClassesAtExit="+archive)
	if err != nil {
		return err
	}
	if err := errors.Join(r.stop(stopTimeout), r.close()); err != nil {
		return err
	}
	if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("the registry's first run left no class archive: %w; the end of its log:\n%s", err,
			r.logTail(tailLines))
	}
	return os.RemoveAll(scratch)
}
