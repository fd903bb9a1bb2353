// Reads forms with Go's net/http; see readers.py for input and output.
package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
)

type form struct {
	Type string `json:"type"`
	Body []byte `json:"body"`
}

func read(form form) [][2]string {
	request, err := http.NewRequest("POST", "/", bytes.NewReader(form.Body))
	if err != nil {
		return nil
	}
	request.Header.Set("content-type", form.Type)
	if request.ParseMultipartForm(1<<20) != nil {
		return nil
	}
	fields := [][2]string{}
	for name, values := range request.MultipartForm.Value {
		for _, value := range values {
			fields = append(fields, [2]string{name, value})
		}
	}
	return fields
}

func main() {
	var forms []form
	if err := json.NewDecoder(os.Stdin).Decode(&forms); err != nil {
		panic(err)
	}
	found := []map[string][][2]string{}
	for _, form := range forms {
		found = append(found, map[string][][2]string{"go": read(form)})
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		panic(err)
	}
}
