// A real MCP client in Go, led by JSON lines as ../python/client.py is.
//
// Prints {"authorize": URL} when a person is to sign in, and reads the URL that the browser came back to. Then answers
// each line read: "list", "whoami", "request {method, params}", "spoil" (the access token has expired) and "close" (with
// the status of the DELETE).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

var input = bufio.NewScanner(os.Stdin)

func say(message any) {
	line, err := json.Marshal(message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}

func read() string {
	input.Scan()
	return input.Text()
}

// signIn leaves the browser to who leads this client.
func signIn(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	say(map[string]string{"authorize": args.URL})
	back, err := url.Parse(read())
	if err != nil {
		return nil, err
	}
	query := back.Query()
	return &auth.AuthorizationResult{Code: query.Get("code"), State: query.Get("state"), Iss: query.Get("iss")}, nil
}

// tokens refreshes when its clock says so, as the SDK does, or when the access token was spoiled.
type tokens struct {
	sync.Mutex
	ctx    context.Context
	config *oauth2.Config
	source oauth2.TokenSource
}

func (t *tokens) Token() (*oauth2.Token, error) {
	t.Lock()
	defer t.Unlock()
	return t.source.Token()
}

func (t *tokens) spoil() {
	t.Lock()
	defer t.Unlock()
	token, err := t.source.Token()
	if err != nil {
		log.Fatal(err)
	}
	t.source = t.config.TokenSource(t.ctx, &oauth2.Token{RefreshToken: token.RefreshToken})
}

// deletes notes the status of each DELETE.
type deletes struct {
	sync.Mutex
	status []int
}

func (d *deletes) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil && request.Method == http.MethodDelete {
		d.Lock()
		defer d.Unlock()
		d.status = append(d.status, response.StatusCode)
	}
	return response, err
}

// request sends a request by the method that a program would use.
func request(ctx context.Context, session *mcp.ClientSession, line string) (any, error) {
	var message struct {
		Method string
		Params json.RawMessage
	}
	if err := json.Unmarshal([]byte(line), &message); err != nil {
		return nil, err
	}
	switch message.Method {
	case "tools/list":
		return send(ctx, message.Params, session.ListTools)
	case "tools/call":
		return send(ctx, message.Params, session.CallTool)
	case "prompts/list":
		return send(ctx, message.Params, session.ListPrompts)
	case "prompts/get":
		return send(ctx, message.Params, session.GetPrompt)
	case "resources/list":
		return send(ctx, message.Params, session.ListResources)
	case "resources/templates/list":
		return send(ctx, message.Params, session.ListResourceTemplates)
	case "resources/read":
		return send(ctx, message.Params, session.ReadResource)
	default:
		return send(ctx, message.Params, session.Complete)
	}
}

func send[P, R any](ctx context.Context, params json.RawMessage, call func(context.Context, *P) (*R, error)) (any, error) {
	var typed P
	if err := json.Unmarshal(params, &typed); err != nil {
		return nil, err
	}
	return call(ctx, &typed)
}

func lead(ctx context.Context, session *mcp.ClientSession, signedIn *tokens) error {
	for {
		command := read()
		if line, found := strings.CutPrefix(command, "request "); found {
			result, err := request(ctx, session, line)
			if err != nil {
				say(map[string]string{"error": err.Error()})
			} else {
				say(map[string]any{"result": result})
			}
			continue
		}
		switch command {
		case "list":
			names := []string{}
			for tool, err := range session.Tools(ctx, nil) {
				if err != nil {
					return err
				}
				names = append(names, tool.Name)
			}
			say(names)
		case "whoami":
			result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
			if err != nil {
				return err
			}
			say(result.StructuredContent)
		case "spoil":
			signedIn.spoil()
			say(true)
		default:
			return session.Close()
		}
	}
}

func run(version, endpoint, redirectURI string) error {
	ctx := context.Background()
	signedIn := &tokens{}
	deleted := &deletes{status: []int{}}
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName:              "Go SDK",
				RedirectURIs:            []string{redirectURI},
				GrantTypes:              []string{"authorization_code", "refresh_token"},
				TokenEndpointAuthMethod: "none",
			},
		},
		AuthorizationCodeFetcher: signIn,
		RequestRefreshToken:      true,
		NewTokenSource: func(ctx context.Context, config *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
			signedIn.ctx, signedIn.config, signedIn.source = ctx, config, config.TokenSource(ctx, token)
			return signedIn, nil
		},
	})
	if err != nil {
		return err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "providers", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:     endpoint,
		HTTPClient:   &http.Client{Transport: deleted},
		OAuthHandler: handler,
	}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return err
	}
	say(map[string]string{"protocol": session.InitializeResult().ProtocolVersion})
	if err := lead(ctx, session, signedIn); err != nil {
		return err
	}
	say(map[string][]int{"deleted": deleted.status})
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}
