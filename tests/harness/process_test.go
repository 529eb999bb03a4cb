package harness

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// helperEnv makes the test binary play a process that starts something and is
// then killed: see TestMain.
const helperEnv = "ESPERANTO_HARNESS_HELPER"

func TestMain(m *testing.M) {
	if what := os.Getenv(helperEnv); what != "" {
		if err := helper(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// helper starts something, prints process group and folder, and waits to be
// killed.
func helper(what string) error {
	u, err := helperUnit(what)
	if err != nil {
		return err
	}
	fmt.Println(u.proc.group(), u.runDir)
	time.Sleep(5 * time.Minute)
	return fmt.Errorf("the helper was not killed")
}

func helperUnit(what string) (*unit, error) {
	if version, ok := strings.CutPrefix(what, "elasticsearch "); ok {
		c, err := StartElasticsearch(background, Options{Version: version})
		if err != nil {
			return nil, err
		}
		return c.own.unit, nil
	}
	u, err := newUnit(tempDir(), "sleep", time.Minute)
	if err != nil {
		return nil, err
	}
	if err := u.begin(background, sleepers(), always); err != nil {
		return nil, err
	}
	if what == "paused" {
		return u, u.pause()
	}
	return u, nil
}

// sleepers are a process and its child.
func sleepers() command {
	return command{args: []string{"/bin/sh", "-c", "sleep 100 & sleep 100; wait"}, env: os.Environ()}
}

func TestProcessesEndWithTheirStarter(t *testing.T) {
	for _, what := range []string{"running", "paused"} {
		t.Run(what, func(t *testing.T) { testEndsWithStarter(t, what) })
	}
}

func testEndsWithStarter(t *testing.T, what string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	first, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
	group, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); groupAlive(group) || exists(dir); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: process group %d alive: %v, %s there: %v", group, groupAlive(group), dir, exists(dir))
		}
	}
}

func TestUnit(t *testing.T) {
	u, err := newUnit(tempDir(), "sleep", time.Minute, "sub")
	if err != nil {
		t.Fatal(err)
	}
	start := func() int {
		t.Helper()
		if err := u.begin(background, sleepers(), always); err != nil {
			t.Fatal(err)
		}
		if !groupAlive(u.proc.group()) {
			t.Fatal("it was started and does not run")
		}
		return u.proc.group()
	}
	ends := map[string]func() error{
		"stop": u.stop,
		"kill": u.kill,
		"stop when paused": func() error {
			if err := u.pause(); err != nil {
				return err
			}
			return u.stop()
		},
		"close": u.close,
	}
	for _, name := range []string{"stop", "kill", "stop when paused", "close"} {
		group := start()
		if err := u.begin(background, sleepers(), always); err == nil {
			t.Error("it runs and could be started again")
		}
		if err := ends[name](); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if groupAlive(group) {
			t.Errorf("%s: process group %d is alive", name, group)
		}
		if err := u.pause(); err == nil {
			t.Errorf("%s: what does not run could be paused", name)
		}
	}
	if exists(u.runDir) {
		t.Errorf("%s is there after close", u.runDir)
	}
}

func TestStartFailures(t *testing.T) {
	u, err := newUnit(tempDir(), "broken", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	broken := command{args: []string{"/bin/sh", "-c", "echo BindException; exit 3"}}
	err = u.begin(background, broken, never)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), errPortTaken.Error()) {
		t.Errorf("got %v, want exit status and the port", err)
	}
	if text := u.explain(err).Error(); !strings.Contains(text, "log:\nBindException") {
		t.Errorf("got %s, want the log", text)
	}
	u.timeout = 300 * time.Millisecond
	if err := u.begin(background, sleepers(), never); err == nil || !strings.Contains(err.Error(), "not ready within 300ms") {
		t.Errorf("got %v, want the timeout", err)
	}
	if u.resume() == nil {
		t.Error("it runs after a failed start")
	}
}
