//go:build faults

package faults

// Results: one line of JSON a finished cell, one table of all of them, and what
// is kept of a cell that failed.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
)

// result is a row of the table.
type result struct {
	Name, Fault, On                                          string
	Long                                                     bool
	Seed                                                     uint64
	Acknowledged, Refused, Unknown, Lost, Doubled, Reordered int
	Resent, Violations                                       int
	WithoutService                                           float64 // seconds
	PeakMiB                                                  int64
	Seconds                                                  float64
	Reasons                                                  map[string]int
	Passed                                                   bool
}

func resultsFile() string {
	name := "results.jsonl"
	if long {
		name = "results-long.jsonl"
	}
	return filepath.Join(outDir(), name)
}

func (x *run) finish(v *ledger.Verdict, ended time.Time, peak int64, took time.Duration) {
	sum := v.Sum()
	row := result{Name: x.cell.name, Fault: x.cell.fault, On: string(x.cell.on), Long: long, Seed: x.ledger.Seed,
		Acknowledged: sum.Acknowledged, Refused: sum.Refused, Unknown: sum.Unknown + sum.NoAnswer, Resent: sum.Resent,
		Lost: sum.Kinds[ledger.Lost], Doubled: sum.TwiceStored, Reordered: sum.Kinds[ledger.Reordered],
		WithoutService: x.ledger.WithoutService(x.began, ended).Seconds(), PeakMiB: peak >> 20,
		Seconds: took.Seconds(), Reasons: x.ledger.Reasons(), Passed: !x.Failed()}
	for _, n := range sum.Kinds {
		row.Violations += n
	}
	x.say("acknowledged %d, refused %d, unknown %d, resent %d, lost %d, doubled %d, reordered %d; %.1f s without service, %d MiB, %.0f s; %v",
		row.Acknowledged, row.Refused, row.Unknown, row.Resent, row.Lost, row.Doubled, row.Reordered, row.WithoutService,
		row.PeakMiB, row.Seconds, row.Reasons)
	if sum.Kinds[ledger.Lost] > 0 {
		x.Errorf("lost: %d before, %d among, %d behind what is there", sum.LostPrefix, sum.LostMiddle, sum.LostPostfix)
	}
	text, err := json.Marshal(row)
	if err == nil {
		err = appendLine(resultsFile(), text)
	}
	if err != nil {
		x.Error(err)
	}
}

func appendLine(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(text, '\n'))
	return err
}

// readResults has the cells that passed; the last result of a name counts.
func readResults(t *testing.T) map[string]result {
	rows := map[string]result{}
	if err := os.MkdirAll(outDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(resultsFile())
	if err != nil {
		return rows
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var row result
		if json.Unmarshal(lines.Bytes(), &row) != nil {
			continue // the run was killed while it wrote
		}
		if row.Passed {
			rows[row.Name] = row
		} else {
			delete(rows, row.Name)
		}
	}
	return rows
}

func writeTable(t *testing.T) {
	rows := readResults(t)
	var text strings.Builder
	text.WriteString("| scenario | acknowledged | lost | doubled | reordered | unknown | seconds without service | peak memory, MiB |\n")
	text.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, c := range cells() {
		if row, ok := rows[c.name]; ok {
			fmt.Fprintf(&text, "| %s %s (%s) | %d | %d | %d | %d | %d | %.1f | %d |\n", row.Name, row.Fault, row.On, row.Acknowledged,
				row.Lost, row.Doubled, row.Reordered, row.Unknown, row.WithoutService, row.PeakMiB)
		}
	}
	name := strings.TrimSuffix(resultsFile(), ".jsonl") + ".md"
	if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
		t.Error(err)
	}
	fmt.Fprintf(os.Stderr, "%sresult table: %s\n", text.String(), name)
}

// keep leaves the ledger beside the logs and says where.
func (x *run) keep(dir string) {
	file, err := os.Create(filepath.Join(dir, "ledger.tsv"))
	if err == nil {
		err = x.ledger.Write(file)
		file.Close()
	}
	fmt.Fprintf(os.Stderr, "%s failed; again with FAULT_SEED=%d ONLY=%s. Ledger and logs: %s %v\n",
		x.cell.name, x.ledger.Seed, x.cell.name, dir, errText(err))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
