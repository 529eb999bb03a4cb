package cluster

import (
	"context"
	"errors"
	"net/http"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// AddType implements translate.Facts. What is added is decided by the cluster,
// so that gateways beside this one come to the same; here one type is added at a
// time.
func (f *Facts) AddType(ctx context.Context, index, mappingType string, how translate.TypesSetting) (translate.IndexFacts, bool, error) {
	select {
	case f.adding <- struct{}{}:
		defer func() { <-f.adding }()
	case <-ctx.Done():
		return translate.IndexFacts{}, false, ctx.Err()
	}
	// Another one may have added it, or made the index.
	for range 3 {
		known, exists, err := f.Lookup(ctx, index)
		if err != nil || exists && known.HasType(mappingType) {
			return known.IndexFacts, true, err
		}
		f.Forget(index)
		if known, exists, err = f.Lookup(ctx, index); err != nil || exists && known.HasType(mappingType) {
			return known.IndexFacts, true, err
		}
		if err := f.addType(ctx, index, known, exists, mappingType, how); err != nil {
			return translate.IndexFacts{}, false, err
		}
		f.ForgetAll()
	}
	known, exists, err := f.Lookup(ctx, index)
	return known.IndexFacts, exists && known.HasType(mappingType), err
}

// addType does it once. That the cluster refuses it is no error: it may be done
// already, and whoever writes gets the cluster's own words. Only a further type
// that the client may not add is: the write would be taken for one that the
// gateway refuses.
func (f *Facts) addType(ctx context.Context, index string, known Index, exists bool, mappingType string, how translate.TypesSetting) error {
	v, err := f.c.Version(ctx)
	if err != nil {
		return err
	}
	switch {
	case !exists:
		return unlessForbidden(f.put(ctx, Path(index), `{}`)) // a template may say which types it has
	case known.Type == "" && v.Major >= 7:
		_, err := f.c.rememberType(ctx, index, mappingType)
		return unlessForbidden(err)
	case known.Type == "":
		return unlessForbidden(f.put(ctx, Path(known.Name, "_mapping", mappingType), `{}`))
	case how == translate.SplitTypes:
		return f.splitType(ctx, known, mappingType)
	}
	return f.putOwn(ctx, known, translate.OwnProperties([]string{mappingType}, nil))
}

// putOwn adds members of ours to the properties of an index's mapping.
func (f *Facts) putOwn(ctx context.Context, known Index, properties string) error {
	v, err := f.c.Version(ctx)
	if err != nil {
		return err
	}
	target := Path(known.Name, "_mapping")
	if v.Major < 7 {
		target = Path(known.Name, "_mapping", known.Type)
	}
	return f.put(ctx, target, `{"properties":{`+properties+`}}`)
}

// put changes the cluster in the name of the client.
func (f *Facts) put(ctx context.Context, target, body string) error {
	status, answer, err := f.c.putAsClient(ctx, target, []byte(body))
	if err != nil {
		return err
	}
	if err := forbidden(status, answer); err != nil {
		return err
	}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return f.c.Failed(status, answer)
	}
	return nil
}

func (c *Cluster) putAsClient(ctx context.Context, target string, body []byte) (status int, answer []byte, err error) {
	return c.doWith(ctx, http.MethodPut, target, body, maxAnswer, translate.ClientHeader(ctx))
}

// forbidden is the answer of a cluster that says that the client may not do
// something.
func forbidden(status int, answer []byte) error {
	if !isForbidden(status) {
		return nil
	}
	return esapi.ParseError(status, answer)
}

func isForbidden(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// unlessForbidden leaves it to the cluster whether the client may write, too.
func unlessForbidden(err error) error {
	var e *esapi.Error
	if errors.As(err, &e) && isForbidden(e.Status) {
		return nil
	}
	return err
}
