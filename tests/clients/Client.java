// The unmodified HTTP client of the JDK, which offers HTTP/2 in each first request (`Upgrade: h2c`).
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

class Client {
  public static void main(String[] given) throws Exception {
    String body =
        "{\"model\": \"small\", \"max_tokens\": 12, \"messages\": "
            + "[{\"role\": \"user\", \"content\": \"Hello\"}]}";
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(System.getenv("OPENAI_BASE_URL") + "/chat/completions"))
            .header("Content-Type", "application/json")
            .header("Authorization", "Bearer " + System.getenv("OPENAI_API_KEY"))
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
    if (answer.statusCode() != 200) throw new AssertionError(answer.body());
  }
}
