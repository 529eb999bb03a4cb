package catalogue_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// The items of a bulk with repeated keys are sent once more. That must neither
// carry out twice what was done, nor undo what a later item did.
func TestItemsOfABulkAreSentAgain(t *testing.T) {
	const failed = `{"index":{"_index":"b","_type":"_doc","_id":"1","status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse","caused_by":{"type":"json_parse_exception","reason":"Duplicate field 'a'"}}}}`
	for _, test := range []struct{ name, body, items, again string }{
		{
			"a document that is written again behind it keeps what it has then",
			`{"index":{"_index":"b","_type":"t","_id":"1"}}` + "\n" + `{"a":1,"a":2}` + "\n" + `{"index":{"_index":"b","_type":"t","_id":"1"}}` + "\n" + `{"a":3}` + "\n",
			failed + `,{"index":{"_index":"b","_type":"_doc","_id":"1","_version":1,"result":"created","status":201}}`,
			"",
		},
		{
			"what was done is not done again, whatever its id is",
			`{"update":{"_index":"b","_type":"t","_id":"Duplicate field 'x'"}}` + "\n" + `{"script":{"source":"ctx._source.n++"}}` + "\n" + `{"index":{"_index":"b","_type":"t","_id":"1"}}` + "\n" + `{"a":1,"a":2}` + "\n",
			`{"update":{"_index":"b","_type":"_doc","_id":"Duplicate field 'x'","_version":2,"result":"updated","status":200}},` + failed,
			`"_id":"1"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			stub := &stubCluster{t: t, answers: []part{
				{head: "200", body: `{"took":1,"errors":true,"items":[` + test.items + `]}`},
				{head: "200", body: `{"took":1,"errors":false,"items":[{"index":{"_index":"b","_type":"_doc","_id":"1","_version":1,"result":"created","status":201}}]}`},
			}}
			sender := translate.NewSender(esapi.V(5, 6), esapi.V(7, 10), newFakeFacts(), stub)
			a, err := sender.Send(context.Background(), esapi.NewRequest("POST", "/_bulk", []byte(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			body, err := io.ReadAll(a.Body)
			if err != nil || len(gjson.GetBytes(body, "items").Array()) != 2 {
				t.Fatalf("%s %v", body, err)
			}
			var again string
			for _, s := range stub.sent[1:] {
				again += s.body
			}
			if strings.Count(again, "\n") > 2 || !strings.Contains(again, test.again) || test.again == "" && again != "" {
				t.Errorf("sent once more:\n%s", again)
			}
		})
	}
}
