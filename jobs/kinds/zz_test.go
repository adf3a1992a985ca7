package kinds_test
import ("testing";"strings";"github.com/tidemill/tidemill/jobs";"github.com/tidemill/tidemill/jobs/kinds")
func TestZZ(t *testing.T){
 for _, s := range []string{``,` `,`{`,`{"a":1} x`,`{} {}`,`[]`,`{"a":1,"a":2,"name":"x/y","kind":"agregate"}`,"{\"name\":\"a\xff\"}", strings.Repeat("[",100000),strings.Repeat(`{"a":`,100000),`{"name":"\ud800"}`,`{"name":tru}`,`{"name" 1}`,`{"a":1,}`,`nul`,
 `{"name":"x","kind":"aggregate","paralelism":4,"parallelism":"4","timeout":5,"resources":{"cpus":0,"memory":"512Mi","disk":"-1"},"executor":{"channel":"a","version":"b_c"},"constraints":[{"attribute":"a","operator":"iz"},{"operator":"in","value":"x","attribute":"z"}],"aggregate":{"input":{"uri":"s3://b/","format":"jsonl","delimiter":";"},"group_by":[{"name":"A"},{"nam":"x"}],"measures":{"a":{"cuont":"*"},"b":{"sum":"*","q":1},"c":{"approx_quantile":"x"}},"output":{"uri":"s3x://"}}}`} {
  _, p := jobs.Decode([]byte(s), kinds.All())
  if len(s)>60 && len(s)<100 || len(s)>1000 {s=s[:60]}
  t.Logf("%q", s)
  for _, x := range p { if len(x.Pointer)>300 {x.Pointer=x.Pointer[:300]}; t.Logf("   %s: %s", x.Pointer, x.Detail) }
 }
}
