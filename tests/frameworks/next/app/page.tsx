import Image from "next/image";
import { Picture } from "./picture";

export default function Page() {
  return (
    <main>
      <Picture id="sunrise" />
      <Image src="poster-large?kid=k&exp=9&sig=s" alt="A poster" width={320} height={213} />
    </main>
  );
}
