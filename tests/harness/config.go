package harness

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// logConfig sends the log to standard output, which goes into the log file.
const logConfig = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
`

// warnConfig makes deprecations warnings of the answer, which from 7.10 on is a
// matter of the log's configuration.
const warnConfig = `appender.header_warning.type = HeaderWarningAppender
appender.header_warning.name = header_warning
logger.deprecation.name = org.elasticsearch.deprecation
logger.deprecation.level = %s
logger.deprecation.appenderRef.header_warning.ref = header_warning
logger.deprecation.additivity = false
`

// writeConfig writes the configuration folder of the cluster: settings, log,
// and what security needs.
func (s *server) writeConfig() error {
	settings := s.settings()
	var yml strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&yml, "%s: %s\n", key, settings[key])
	}
	files := map[string]string{
		"elasticsearch.yml": yml.String(),
		"log4j2.properties": logConfig + s.warnConfig(),
		"jvm.options":       strings.Join(s.jvmOptions(), "\n") + "\n", // read by 8.x
	}
	if s.secured() {
		users, err := userFiles(s.options.Users, s.options.Roles)
		if err != nil {
			return err
		}
		maps.Copy(files, users)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.configDir(), name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) warnConfig() string {
	switch s.release.major() {
	case 5, 6:
		return ""
	case 7:
		return fmt.Sprintf(warnConfig, "deprecation")
	}
	return fmt.Sprintf(warnConfig, "warn")
}

// settings returns elasticsearch.yml; what the options say wins.
func (s *server) settings() map[string]string {
	set := map[string]string{
		"cluster.name":       s.name,
		"node.name":          "node-1",
		"network.host":       "127.0.0.1",
		"http.port":          strconv.Itoa(s.port),
		"discovery.type":     "single-node",
		"path.data":          s.dataDir,
		"path.logs":          filepath.Join(s.runDir, "logs"),
		"path.repo":          filepath.Join(s.runDir, "repo"),
		"node.attr.testattr": "test",
		"cluster.routing.allocation.disk.threshold_enabled": "false",
	}
	major := s.release.major()
	if major < 7 {
		set["transport.tcp.port"] = "0"
	} else {
		set["transport.port"] = "0"
	}
	if major < 8 {
		set["bootstrap.system_call_filter"] = "false"
	} else {
		set["action.destructive_requires_name"] = "false"
	}
	if major == 5 || exists(filepath.Join(s.home, "modules", "repository-url")) {
		set["repositories.url.allowed_urls"] = `["http://snapshot.*"]` // an unknown setting elsewhere
	}
	if s.knowsSecurity() {
		maps.Copy(set, s.securitySettings())
	}
	maps.Copy(set, s.release.Settings)
	maps.Copy(set, s.options.Settings)
	return set
}

// jvmOptions returns the options of the JVM: a fixed heap, quick to start.
func (s *server) jvmOptions() []string {
	options := []string{
		"-Xms" + s.options.Heap, "-Xmx" + s.options.Heap, "-Xss1m",
		"-XX:+UseSerialGC",
		"-Djava.awt.headless=true", "-Dfile.encoding=UTF-8",
		"-Djava.io.tmpdir=" + filepath.Join(s.runDir, "tmp"),
		"-Djava.locale.providers=SPI,COMPAT",
		"-Djava.security.manager=allow",
		"-Djna.nosys=true",
		"-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true", "-Dio.netty.recycler.maxCapacityPerThread=0",
		"-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Dlog4j.skipJansi=true", "-Dlog4j2.formatMsgNoLookups=true",
	}
	for _, p := range []string{"java.lang", "java.lang.reflect", "java.io", "java.nio", "sun.nio.ch", "jdk.internal.ref"} {
		options = append(options, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	if !s.options.Fast {
		options = append(options, "-XX:TieredStopAtLevel=1") // starts sooner, runs slower
	}
	options = append(options, s.archive...)
	return append(options, s.options.JVM...)
}

// command returns what starts the server. Versions before 8 are started
// without their script, which would first run other JVMs.
func (s *server) command(java jvm) command {
	run := command{env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.runDir,
		"JAVA_HOME=" + java.home(),
		"ES_JAVA_HOME=" + java.home(),
		"ES_PATH_CONF=" + s.configDir(),
		"ES_TMPDIR=" + filepath.Join(s.runDir, "tmp"),
		"CLI_JAVA_OPTS=-XX:TieredStopAtLevel=1", // of the launcher of 8.x
		"LIBFFI_TMPDIR=" + filepath.Join(s.runDir, "tmp"),
	}}
	major := s.release.major()
	if major >= 8 {
		run.args = []string{filepath.Join(s.home, "bin", "elasticsearch")}
		return run
	}
	run.args = append([]string{java.path}, s.jvmOptions()...)
	run.args = append(run.args, "-Des.path.home="+s.home)
	if major >= 6 {
		flavor := "oss"
		if s.knowsSecurity() {
			flavor = "default"
		}
		run.args = append(run.args, "-Des.path.conf="+s.configDir(),
			"-Des.distribution.flavor="+flavor, "-Des.distribution.type=zip", "-Des.bundled_jdk=false")
	}
	run.args = append(run.args, "-cp", filepath.Join(s.home, "lib", "*"), "org.elasticsearch.bootstrap.Elasticsearch")
	if major == 5 {
		run.args = append(run.args, "-Epath.conf="+s.configDir())
	}
	return run
}
