package verify

import (
	"slices"
	"testing"

	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// rich is a mapping with many kinds of fields and parameters that 5.6 to 8.7 all
// know, without modules.
const rich = `{"dynamic":"strict","date_detection":false,"numeric_detection":true,"_routing":{"required":false},"_source":{"excludes":["secret"]},
	"dynamic_templates":[{"texts":{"match_mapping_type":"string","mapping":{"type":"keyword","ignore_above":30}}}],
	"_meta":{"owner":"the library"},
	"properties":{
		"title":{"type":"text","analyzer":"standard","norms":false,"index_options":"freqs","fields":{"raw":{"type":"keyword","ignore_above":256,"null_value":"none"},"own":{"type":"text","analyzer":"mine","search_analyzer":"standard"}}},
		"long":{"type":"text","term_vector":"with_positions_offsets","store":true,"fielddata":true,"position_increment_gap":50,"copy_to":["all"]},
		"all":{"type":"text"},
		"code":{"type":"keyword","doc_values":false,"index":true,"store":true,"copy_to":"all","eager_global_ordinals":true},
		"n":{"type":"long","coerce":false,"ignore_malformed":true},"i":{"type":"integer","null_value":3},"f":{"type":"float","index":false},"d":{"type":"double"},"b":{"type":"byte"},"h":{"type":"half_float"},
		"yes":{"type":"boolean","null_value":false},"when":{"type":"date","format":"yyyy-MM-dd||epoch_millis"},"then":{"type":"date"},
		"bytes":{"type":"binary"},"ip":{"type":"ip"},"place":{"type":"geo_point","ignore_malformed":true},"span":{"type":"integer_range"},"days":{"type":"date_range","format":"yyyy-MM-dd"},
		"secret":{"type":"keyword"},
		"nested":{"type":"nested","include_in_parent":true,"properties":{"a":{"type":"keyword"},"deep":{"type":"object","dynamic":"true","properties":{"x":{"type":"long"}}}}},
		"off":{"type":"object","enabled":false},"plain":{"properties":{"y":{"type":"text"}}},"done":{"type":"completion","analyzer":"simple","max_input_length":40}}}`

const richSettings = `{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"5s","max_result_window":20000,"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard","filter":["lowercase"]}}},
	"mapping":{"total_fields":{"limit":500}},"gc_deletes":"90s","translog":{"durability":"async"},"search":{"slowlog":{"threshold":{"query":{"warn":"10s"}}}}}`

// TestNoFalseAlarmOfState makes indices and definitions with all there is through
// the gateway: nothing of it differs.
func TestNoFalseAlarmOfState(t *testing.T) {
	for _, pair := range [][2]string{{"5.6.16", "8.7.1"}, {"8.7.1", "5.6.16"}, {"6.8.23", "7.10.2"}, {"7.17.28", "8.7.1"}, {"7.10.2", "6.8.23"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			r := newRig(t, pair[0], pair[1])
			r.makeState()
			r.waitApplied()
			r.clean()
			if s, err := r.g.Status(t.Context()); err != nil || s.DeadLetters != 0 {
				t.Errorf("%+v %v", s, err)
			}
			if slices.Contains(own, pair[0]) && slices.Contains(own, pair[1]) {
				r.definitions()
			}
		})
	}
}

func (r *rig) makeState() {
	r.send(nil, "PUT", "/"+r.prefix+"rich", `{"settings":{"index":`+richSettings+`},"mappings":`+r.mapping(rich)+`,"aliases":{
		"`+r.prefix+`a":{},"`+r.prefix+`b":{"routing":"1"},"`+r.prefix+`c":{"index_routing":"1","search_routing":"1,2"},"`+r.prefix+`d":{"filter":{"bool":{"must":[{"term":{"code":"x"}}],"filter":{"range":{"n":{"gte":1,"lt":10}}}}}}}}`)
	r.send(nil, "PUT", "/"+r.prefix+"empty", `{}`)
	r.send(nil, "PUT", r.docPath("guessed", "1"), `{"text":"x","n":1,"f":1.5,"o":{"p":[1,2]},"when":"2020-01-01"}`)
	patterns := `"index_patterns":["` + r.prefix + `t-*"]`
	if r.a.Version < "6" {
		patterns = `"template":"` + r.prefix + `t-*"`
	}
	r.send(nil, "PUT", "/_template/"+r.prefix+"t", `{`+patterns+`,"order":3,"version":7,"settings":{"number_of_shards":1,"index":{"refresh_interval":"9s"}},"aliases":{"`+r.prefix+`ta":{"filter":{"term":{"code":"x"}}}},"mappings":`+
		r.mapping(`{"properties":{"code":{"type":"keyword","ignore_above":20},"title":{"type":"text","fields":{"raw":{"type":"keyword"}}}}}`)+`}`)
	r.t.Cleanup(func() { r.forget("/_template/" + r.prefix + "t") })
	r.send(nil, "PUT", "/_ingest/pipeline/"+r.prefix+"p", `{"description":"does nothing","processors":[]}`)
	r.t.Cleanup(func() { r.forget("/_ingest/pipeline/" + r.prefix + "p") })
	if r.painless() {
		r.send(nil, "PUT", "/_scripts/"+r.prefix+"s", `{"script":{"lang":"painless","source":"1 + params.n"}}`)
		r.t.Cleanup(func() { r.forget("/_scripts/" + r.prefix + "s") })
	}
	if r.a.Version >= "7.10" && r.b.Version >= "7.10" {
		r.send(nil, "PUT", "/_component_template/"+r.prefix+"c", `{"template":{"settings":{"number_of_shards":1},"mappings":{"properties":{"code":{"type":"keyword"}}}}}`)
		r.send(nil, "PUT", "/_index_template/"+r.prefix+"i", `{"index_patterns":["`+r.prefix+`i-*"],"composed_of":["`+r.prefix+`c"],"priority":900,"template":{"aliases":{"`+r.prefix+`ia":{}}}}`)
		r.t.Cleanup(func() {
			r.forget("/_index_template/" + r.prefix + "i")
			r.forget("/_component_template/" + r.prefix + "c")
		})
	}
}

// painless reports whether both clusters have the scripting language.
func (r *rig) painless() bool {
	has := func(c *harness.Cluster) bool { return c.Version < "7.11" }
	return has(r.a) && has(r.b)
}

func (r *rig) docPath(index, id string) string {
	typ := typeAt(r.a)
	if typ == "" {
		typ = "_doc"
	}
	return "/" + r.prefix + index + "/" + typ + "/" + id
}

// forget deletes a definition at both clusters.
func (r *rig) forget(path string) {
	for _, c := range []*harness.Cluster{r.a, r.b} {
		c.Do(r.t, "DELETE", path, "")
	}
}

// definitions changes definitions at the follower, which is found and repaired.
func (r *rig) definitions() {
	t := r.t
	if v := r.verifyAll(); v.status != 0 {
		t.Fatalf("%+v", v.Samples)
	}
	r.send(r.b, "PUT", "/_ingest/pipeline/"+r.prefix+"p", `{"description":"does something else","processors":[]}`)
	r.send(r.b, "DELETE", "/_template/"+r.prefix+"t", "")
	r.send(r.b, "PUT", "/_ingest/pipeline/"+r.prefix+"extra", `{"processors":[]}`)
	t.Cleanup(func() { r.forget("/_ingest/pipeline/" + r.prefix + "extra") })
	if v := r.verifyAll(); v.status != 1 || v.State != 3 || v.Left != 3 {
		t.Errorf("%d %+v", v.status, v.Samples)
	}
	if v := r.verifyAll("--repair"); v.status != 1 || v.State != 3 || v.Left != 1 {
		t.Errorf("%d %+v", v.status, v.Samples)
	}
	if v := r.verifyAll(); v.status != 1 || v.State != 1 || v.Samples[0].Kind != replicate.KindExtra || v.Samples[0].Name != r.prefix+"extra" {
		t.Errorf("%d %+v", v.status, v.Samples)
	}
}
