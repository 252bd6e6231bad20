import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Reads one secret from a vault, with the JDK alone: a workload's whole way from
 * its service account's token to the secret, as any language without an SDK of
 * Azure's can go it.
 *
 * <pre>java ReadSecret.java VAULT-URL SECRET-NAME</pre>
 *
 * Who it is, and where it signs in, is what the workload identity webhook puts into
 * a pod's environment: AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID and
 * AZURE_FEDERATED_TOKEN_FILE.
 */
public class ReadSecret {
    /** What every vault of the public cloud is to the token service. */
    private static final String VAULTS = "https://vault.azure.net/.default";

    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final int ATTEMPTS = 4;

    private final HttpClient http = HttpClient.newBuilder().connectTimeout(PATIENCE).build();

    public static void main(String[] args) throws InterruptedException {
        if (args.length != 2) {
            System.err.println("usage: java ReadSecret.java VAULT-URL SECRET-NAME");
            System.exit(2);
        }
        try {
            System.out.println(new ReadSecret().secret(args[0], args[1]));
        } catch (IOException | IllegalArgumentException error) {
            System.err.println(error);
            System.exit(1);
        }
    }

    /** Reads the newest version of a secret. */
    private String secret(String vault, String name) throws IOException, InterruptedException {
        URI address = URI.create(vault).resolve("/secrets/" + encoded(name) + "?api-version=7.4");
        return member("value", HttpRequest.newBuilder(address).header("Authorization", "Bearer " + token()));
    }

    /** Exchanges the service account's token, as it is at this moment, for one of the identity. */
    private String token() throws IOException, InterruptedException {
        String assertion = Files.readString(Path.of(variable("AZURE_FEDERATED_TOKEN_FILE")));
        String form = Map.of(
                "grant_type", "client_credentials",
                "client_id", variable("AZURE_CLIENT_ID"),
                "scope", VAULTS,
                "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion", assertion.strip()
        ).entrySet().stream().map(e -> e.getKey() + "=" + encoded(e.getValue())).collect(Collectors.joining("&"));
        URI address = URI.create(variable("AZURE_AUTHORITY_HOST")).resolve("/" + encoded(variable("AZURE_TENANT_ID")) + "/oauth2/v2.0/token");
        return member("access_token", HttpRequest.newBuilder(address)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString(form)));
    }

    /** Sends a request, and gives a member of the answer; any other answer than 200 is the error. */
    private String member(String name, HttpRequest.Builder request) throws IOException, InterruptedException {
        HttpRequest asked = request.header("Accept", "application/json").timeout(PATIENCE).build();
        HttpResponse<String> answer = send(asked);
        if (answer.statusCode() != 200) {
            throw new IOException(asked.uri() + " answers " + answer.statusCode() + ": " + answer.body());
        }
        String value = members(answer.body()).get(name);
        if (value == null) {
            throw new IOException(asked.uri() + " answers without " + name);
        }
        return value;
    }

    /** Sends a request, and again what may go better then, as Azure's SDKs do. */
    private HttpResponse<String> send(HttpRequest request) throws IOException, InterruptedException {
        for (int attempt = 1; ; attempt++) {
            try {
                HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
                boolean busy = answer.statusCode() == 429 || answer.statusCode() >= 500;
                if (!busy || attempt == ATTEMPTS) {
                    return answer;
                }
            } catch (IOException error) {
                if (attempt == ATTEMPTS || isOfCertificates(error)) {
                    throw new IOException(request.uri() + ": " + error, error);
                }
            }
            Thread.sleep(Duration.ofSeconds(1L << attempt).toMillis());
        }
    }

    private static boolean isOfCertificates(Throwable error) {
        return error != null && (error instanceof CertificateException || isOfCertificates(error.getCause()));
    }

    private static final Pattern TOKEN = Pattern.compile("\"((?:[^\"\\\\]++|\\\\.)*+)\"|[{}\\[\\]:,]|[^\\s\"{}\\[\\]:,]++");
    private static final Pattern ESCAPE = Pattern.compile("\\\\(?:u([0-9a-fA-F]{4})|(.))");

    /** The members of a JSON object that are strings; the JDK reads no JSON. */
    private static Map<String, String> members(String json) {
        Map<String, String> all = new HashMap<>();
        String last = null, name = null; // the last string of the object, and what a colon made of it
        int depth = 0;
        for (Matcher m = TOKEN.matcher(json); m.find(); ) {
            switch (m.group()) {
                case "{", "[" -> depth++;
                case "}", "]" -> depth--;
                case ":" -> name = depth == 1 ? last : name;
                case "," -> name = depth == 1 ? null : name;
                default -> {
                    if (depth == 1 && m.group(1) != null) {
                        last = unescaped(m.group(1));
                        if (name != null) {
                            all.put(name, last);
                        }
                    }
                }
            }
        }
        return all;
    }

    private static String unescaped(String text) {
        return ESCAPE.matcher(text).replaceAll(m -> Matcher.quoteReplacement(m.group(1) != null
                ? String.valueOf((char) Integer.parseInt(m.group(1), 16))
                : switch (m.group(2)) {
                    case "b" -> "\b";
                    case "f" -> "\f";
                    case "n" -> "\n";
                    case "r" -> "\r";
                    case "t" -> "\t";
                    default -> m.group(2);
                }));
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    private static String variable(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException(name + " is not set: a pod gets it by the label azure.workload.identity/use");
        }
        return value;
    }
}
